"""Benchmarks, read from the files that their authors published.

Nothing is downloaded by loading, and no part of a suite passes for the suite: a missing picture, a
missing column or another number of rows is a `SuiteError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.suites.cells import TableCell
from guardalign_middleware.evaluation.suites.figstep import FigStep
from guardalign_middleware.evaluation.suites.manifest import Item, Manifest, Picture, Suite
from guardalign_middleware.evaluation.suites.xstest import XSTest

__all__ = ["SUITES", "Item", "Manifest", "Picture", "Suite", "TableCell", "suite"]

_ALL: tuple[Suite, ...] = (FigStep(), FigStep(suffix=True), XSTest())
SUITES: Mapping[str, Suite] = MappingProxyType({one.manifest.name: one for one in _ALL})
"""Every suite by its name."""


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
