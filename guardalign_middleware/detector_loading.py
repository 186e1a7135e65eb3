"""Loading the detector of a whole config: what it looks at can depend on the runner's model."""

from __future__ import annotations

from guardalign_middleware.config import GuardAlignConfig, RunnerConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.forms import ModelForms
from guardalign_middleware.start_checks import require_seen_model


def load_detector(config: GuardAlignConfig) -> Detector:
    """Load the encoder, the anchors, the profile and, where it counts, the runner's processor.

    Raises:
        ConfigError: anchors, profile or forms are wrong or do not belong together.
        ModelLoadError: an encoder or the processor cannot be loaded.
    """
    runner = require_seen_model(config)
    if runner is None:
        return Detector.from_config(config.detection)
    return Detector.from_config(config.detection, model_forms=_model_forms(runner))


def _model_forms(runner: RunnerConfig) -> ModelForms:
    # Imported on use: other detectors need no transformers.
    from guardalign_middleware.generation.frames import ProcessorForms

    return ProcessorForms.load(runner)
