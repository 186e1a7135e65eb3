"""How each arm is made from a loaded chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.arms.answer import Arm
from guardalign_middleware.evaluation.arms.ecso import EcsoArm
from guardalign_middleware.evaluation.arms.eta import ENCODER, THRESHOLD, EtaArm
from guardalign_middleware.evaluation.arms.names import parsed
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


def build_arm(name: str, chain: GuardAlign, settings: ArmSettings) -> Arm:
    """Make an arm from the parts of a loaded chain.

    Raises:
        ConfigError: there is no such arm, the guard of an arm with masked pictures only observes,
            or the `eta` arm has no threshold for this encoder.
    """
    kind, gamma = parsed(name)
    if kind in _CLEANED and chain.config.mode == "observe":
        raise ConfigError(
            f"The arm {name!r} is of masked pictures, and the guard {chain.config.name} only "
            "observes: every picture would pass.",
            remedy="Write mode: enforce into the preset, or leave the arm out.",
        )
    if gamma is not None:
        if not isinstance(chain.runner, CalibratedRunner):
            raise ConfigError(f"The arm {name!r} needs a model in this process.")
        chain = GuardAlign(chain.guard, chain.runner.at_gamma(gamma))
    return _MAKERS[kind](chain, settings)


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


_CLEANED = ("detection", "detection-prefix", "full")
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
