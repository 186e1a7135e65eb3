"""Guards for timing: they scan every picture and flag none."""

from __future__ import annotations

from pathlib import Path

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import (
    AnchorBank,
    Detector,
    ImageTextEncoder,
    ThresholdFit,
    ThresholdProfile,
)
from guardalign_middleware.image_guard import ImageGuard


def default_anchors() -> Path:
    """The anchor file of the presets for photographs."""
    return GuardAlignConfig.load("clip-vit-b-32").detection.anchors


def without_memory(preset: str) -> GuardAlignConfig:
    """A preset whose guard scans every picture, also one that it has seen before."""
    config = GuardAlignConfig.load(preset)
    forgetful = config.detection.model_copy(update={"remembered_verdicts": 0})
    return config.model_copy(update={"detection": forgetful})


def flag_nothing(
    encoder: ImageTextEncoder, anchors: AnchorBank, config: GuardAlignConfig
) -> ImageGuard:
    """A guard whose threshold is below every distance: a clean picture is the common case."""
    meters = Detector.from_parts(encoder, anchors, config.detection).meters
    fit = ThresholdFit(max_false_alarm=None, safe_images=0, false_alarm=0.0)
    profile = ThresholdProfile(-1.0, "none: for timing", fit, meters[0].binding)
    return ImageGuard(config, Detector(meters, config.detection, profile))
