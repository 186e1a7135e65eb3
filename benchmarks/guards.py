"""Guards for timing: they scan every picture and flag none."""

from __future__ import annotations

from pathlib import Path

from guardalign_middleware.bench.subject import flagging_nothing, forgetting
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import AnchorBank, Detector, ImageTextEncoder
from guardalign_middleware.image_guard import ImageGuard


def default_anchors() -> Path:
    """The anchor file of the presets for photographs."""
    return GuardAlignConfig.load("clip-vit-b-32").detection.anchors


def without_memory(preset: str) -> GuardAlignConfig:
    """A preset whose guard scans every picture, also one that it has seen before."""
    return forgetting(GuardAlignConfig.load(preset))


def flag_nothing(
    encoder: ImageTextEncoder, anchors: AnchorBank, config: GuardAlignConfig
) -> ImageGuard:
    """A guard that flags nothing: a clean picture is the common case."""
    detector = Detector.from_parts(encoder, anchors, config.detection)
    return ImageGuard(config, flagging_nothing(detector))
