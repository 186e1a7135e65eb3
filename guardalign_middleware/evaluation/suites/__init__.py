"""Benchmarks, read from the files that their authors published.

Nothing is downloaded by loading, and no part of a suite passes for the suite: a missing picture, a
missing column or another number of rows is a `SuiteError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.suites.advbench import AdvBench
from guardalign_middleware.evaluation.suites.cells import TableCell
from guardalign_middleware.evaluation.suites.figstep import FigStep
from guardalign_middleware.evaluation.suites.figstep_benign import FigStepBenign
from guardalign_middleware.evaluation.suites.gqa import GQA
from guardalign_middleware.evaluation.suites.hub import hub_folder
from guardalign_middleware.evaluation.suites.jailbreakv import JailBreakV
from guardalign_middleware.evaluation.suites.manifest import Item, Manifest, Picture, Suite
from guardalign_middleware.evaluation.suites.mm_safetybench import MMSafetyBench
from guardalign_middleware.evaluation.suites.mossbench import MOSSBench
from guardalign_middleware.evaluation.suites.msts import MSTS
from guardalign_middleware.evaluation.suites.records import HOLISAFE, SIUO, VLSBENCH
from guardalign_middleware.evaluation.suites.spa_vl import SPA_VL
from guardalign_middleware.evaluation.suites.utility import (
    MMBENCH,
    MME,
    SCIENCEQA,
    TEXTVQA,
    VQAV2,
)
from guardalign_middleware.evaluation.suites.visual_adv import VisualAdv
from guardalign_middleware.evaluation.suites.vlguard import VLGuard
from guardalign_middleware.evaluation.suites.xstest import XSTest

__all__ = [
    "SUITES",
    "Item",
    "Manifest",
    "Picture",
    "Suite",
    "TableCell",
    "hub_folder",
    "suite",
]

_ALL: tuple[Suite, ...] = (
    SPA_VL,
    MMSafetyBench("SD"),
    MMSafetyBench("TYPO"),
    MMSafetyBench("SD_TYPO"),
    FigStep(),
    FigStep(suffix=True),
    VisualAdv(),
    VisualAdv(suffix=True),
    VLGuard(),
    AdvBench(),
    JailBreakV(),
    HOLISAFE,
    VLSBENCH,
    SIUO,
    MSTS(),
    XSTest(),
    MOSSBench(),
    FigStepBenign(),
    MME,
    MMBENCH,
    SCIENCEQA,
    TEXTVQA,
    VQAV2,
    GQA(),
)
SUITES: Mapping[str, Suite] = MappingProxyType({one.manifest.name: one for one in _ALL})
"""Every suite by its name: of safety, of over-refusal, of utility."""


def suite(name: str) -> Suite:
    """The suite of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in SUITES:
        raise ConfigError(
            f"There is no suite {name!r}.", remedy=f"Suites are: {', '.join(SUITES)}."
        )
    return SUITES[name]
