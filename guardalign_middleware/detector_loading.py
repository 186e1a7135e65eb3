"""Loading the detector of a whole config: what it looks at can depend on the runner's model."""

from __future__ import annotations

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.forms import ModelForms
from guardalign_middleware.errors import ConfigError


def load_detector(config: GuardAlignConfig) -> Detector:
    """Load the encoder, the anchors, the profile and, where it counts, the runner's processor.

    Raises:
        ConfigError: anchors, profile or forms are wrong or do not belong together.
        ModelLoadError: an encoder or the processor cannot be loaded.
    """
    if "model" not in config.detection.sees:
        return Detector.from_config(config.detection)
    return Detector.from_config(config.detection, model_forms=_model_forms(config))


def require_profile(config: GuardAlignConfig) -> None:
    """Reject a config that decides without a threshold profile; to observe, none is needed.

    Raises:
        ConfigError: there is none.
    """
    if config.detection.profile is None and config.mode == "enforce":
        raise ConfigError(
            f"The preset {config.name!r} has no threshold profile, so it cannot decide at which "
            "distance an image is unsafe.",
            remedy="Fit one on your own images with `guardalign calibrate`, and name its file as "
            "detection.profile. To collect distances without deciding, set mode to observe.",
        )


def _model_forms(config: GuardAlignConfig) -> ModelForms:
    if config.runner is None:
        raise ConfigError(
            f"The preset {config.name!r} looks at what its model sees, but has no runner.",
            remedy='Add a runner, or set detection.sees to "any".',
        )
    # Imported on use: other detectors need no transformers.
    from guardalign_middleware.generation.frames import ProcessorForms

    return ProcessorForms.load(config.runner)
