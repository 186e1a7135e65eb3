"""The arms by name, and how each is made from a loaded chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.arms.answer import Arm
from guardalign_middleware.evaluation.arms.ecso import EcsoArm
from guardalign_middleware.evaluation.arms.eta import ENCODER, THRESHOLD, EtaArm
from guardalign_middleware.evaluation.arms.plain import (
    NEUTRAL,
    ChainArm,
    RunnerArm,
    Uncalibrated,
)
from guardalign_middleware.evaluation.arms.whole_picture import WholePicture
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard

ARMS: Mapping[str, str] = MappingProxyType(
    {
        "vanilla": "the model as it is",
        "neutral": "a sentence in the prefix's place that asks for nothing (control)",
        "prefix": "the safety prefix",
        "calibration": "the safety prefix with calibrated attention",
        "detection": "masked pictures, no prefix",
        "detection-prefix": "masked pictures and the safety prefix",
        "full": "the whole method: masked pictures, prefix, calibrated attention",
        "eta": "ETA-style: the prefix where CLIP finds the whole picture unsafe",
        "ecso": "ECSO: the model judges itself and answers again from a caption",
    }
)
"""What each arm does, in the order of tables."""
_AT_GAMMA = ("calibration", "full")


@dataclass(frozen=True)
class ArmSettings:
    """What some arms need besides the preset.

    Attributes:
        options: of every generation; what is absent comes from the preset.
        eta_threshold: cosine at which the `eta` arm calls a picture unsafe; None = ETA's own.
        neutral: sentences for the `neutral` arm.
    """

    options: GenerationOptions = field(default_factory=GenerationOptions)
    eta_threshold: float | None = None
    neutral: tuple[str, ...] = (NEUTRAL,)


def arm_names(text: str) -> tuple[str, ...]:
    """Read a list such as "full,vanilla,calibration@2", or "all"; the order is that of `ARMS`.

    Raises:
        ConfigError: there is no such arm, or none is named.
    """
    asked = {name.strip() for name in text.split(",")} - {""}
    wanted = (asked - {"all"}) | set(ARMS) if "all" in asked else asked
    if not wanted:
        raise ConfigError("No arm is named.", remedy=f"Arms are: {_known()}; or all.")
    places = list(ARMS)
    return tuple(sorted(wanted, key=lambda name: (places.index(_parsed(name)[0]), name)))


def build_arm(name: str, chain: GuardAlign, settings: ArmSettings) -> Arm:
    """Make an arm from the parts of a loaded chain.

    Raises:
        ConfigError: there is no such arm, or the `eta` arm has no threshold for this encoder.
    """
    kind, gamma = _parsed(name)
    if gamma is not None:
        if not isinstance(chain.runner, CalibratedRunner):
            raise ConfigError(f"The arm {name!r} needs a model in this process.")
        chain = GuardAlign(chain.guard, chain.runner.at_gamma(gamma))
    return _MAKERS[kind](chain, settings)


def _parsed(name: str) -> tuple[str, float | None]:
    """The kind of an arm, and its strength of calibration where the name gives one."""
    kind, at, strength = name.partition("@")
    try:
        gamma = float(strength) if at else None
    except ValueError:
        gamma = math.nan
    if kind not in ARMS or (gamma is not None and not (kind in _AT_GAMMA and 0 <= gamma < 1e6)):
        raise ConfigError(f"There is no arm {name!r}.", remedy=f"Arms are: {_known()}; or all.")
    return kind, gamma


def _known() -> str:
    return f"{', '.join(ARMS)}, and {' and '.join(f'{name}@GAMMA' for name in _AT_GAMMA)}"


def _alone(*, prefix: bool, calibrate: bool) -> _Maker:
    return lambda chain, settings: RunnerArm(chain.runner, prefix, calibrate, settings.options)


def _neutral(chain: GuardAlign, settings: ArmSettings) -> Arm:
    return RunnerArm(chain.runner, False, False, settings.options, settings.neutral)


def _masked(*, prefix: bool) -> _Maker:
    return lambda chain, settings: ChainArm(
        GuardAlign(chain.guard, Uncalibrated(chain.runner, prefix=prefix)), settings.options
    )


def _full(chain: GuardAlign, settings: ArmSettings) -> Arm:
    return ChainArm(chain, settings.options)


def _eta(chain: GuardAlign, settings: ArmSettings) -> Arm:
    if not isinstance(chain.guard, ImageGuard):
        raise ConfigError("The arm 'eta' needs the encoder in this process.")
    threshold = settings.eta_threshold
    if threshold is None:
        model = chain.config.detection.encoder.model
        if not model.startswith(ENCODER):
            raise ConfigError(
                f"The arm 'eta' has a threshold for {ENCODER} only, and the preset has {model}.",
                remedy="Give --eta-threshold, fitted to safe pictures, or leave the arm out.",
            )
        threshold = THRESHOLD
    return EtaArm(chain.runner, WholePicture(chain.guard.detector), threshold, settings.options)


def _ecso(chain: GuardAlign, settings: ArmSettings) -> Arm:
    return EcsoArm(chain.runner, settings.options)


_Maker = Callable[[GuardAlign, ArmSettings], Arm]
_MAKERS: Mapping[str, _Maker] = {
    "vanilla": _alone(prefix=False, calibrate=False),
    "neutral": _neutral,
    "prefix": _alone(prefix=True, calibrate=False),
    "calibration": _alone(prefix=True, calibrate=True),
    "detection": _masked(prefix=False),
    "detection-prefix": _masked(prefix=True),
    "full": _full,
    "eta": _eta,
    "ecso": _ecso,
}
