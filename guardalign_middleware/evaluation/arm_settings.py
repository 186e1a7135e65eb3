"""The settings of the arms for a suite, and for the miniature what no publication names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation import mini_suite
from guardalign_middleware.evaluation.arms.build import ArmSettings
from guardalign_middleware.evaluation.arms.whole_picture import WholePicture
from guardalign_middleware.evaluation.suites import Manifest
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.mini.requests import harmless_requests
from guardalign_middleware.mini.wordings import NEUTRAL_PREFIXES

# Of each family of questions.
_SAFE_SCENES = 20


def choose_settings(
    manifest: Manifest,
    chain: GuardAlign,
    arms: Sequence[str],
    *,
    max_new_tokens: int | None,
    eta_threshold: float | None,
) -> ArmSettings:
    """The settings of the arms; those of mini come from its world.

    Raises:
        ConfigError: a setting is given for an arm that is not asked for.
    """
    if eta_threshold is not None and "eta" not in arms:
        raise ConfigError("--eta-threshold is for the arm 'eta', which is not asked for.")
    options = GenerationOptions()
    if max_new_tokens is not None:
        options["max_new_tokens"] = max_new_tokens
    if manifest.name != mini_suite.NAME:
        return ArmSettings(options, eta_threshold)
    guard = chain.guard
    if "eta" in arms and eta_threshold is None and isinstance(guard, ImageGuard):
        eta_threshold = fitted_threshold(WholePicture(guard.detector))
    return ArmSettings(options, eta_threshold, NEUTRAL_PREFIXES)


def fitted_threshold(check: WholePicture) -> float:
    """The cosine that 5% of safe scenes reach, for an encoder for which ETA names none.

    The scenes are of the validation split, so that no reported scene has a say in it.
    """
    requests = harmless_requests(_SAFE_SCENES, seed=mini_suite.SEED, split="validation")
    found = [check.similarity(each.image) for each in requests if each.image is not None]
    return round(float(np.quantile(found, 0.95)), 4)
