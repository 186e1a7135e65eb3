"""A guard that finds red things: the real stages around an encoder that sees only colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guardalign_middleware.config import (
    DetectionConfig,
    EncoderConfig,
    FormConfig,
    GuardAlignConfig,
    PatchConfig,
    RunnerConfig,
    SanitizeConfig,
    TransportConfig,
)
from guardalign_middleware.detection import (
    AnchorBank,
    Detector,
    ThresholdFit,
    ThresholdProfile,
)
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing.encoders import CountingEncoder, FakeEncoder
from guardalign_middleware.testing.runners import EchoRunner

THRESHOLD = 0.2


def red_config(**changes: Any) -> GuardAlignConfig:
    """A config like one from a preset; keywords replace fields."""
    fields: dict[str, Any] = {
        "name": "red",
        "detection": DetectionConfig(
            encoder=EncoderConfig(model="fake"),
            anchors=Path("unused.yaml"),
            sees=(FormConfig(kind="native"),),
            patches=PatchConfig(sizes=(16.0,), unit="pixels", max_crops=4096),
            transport=TransportConfig(contrast_temperature=0.05),
        ),
        # Without a margin, tests can state the hidden area to the pixel.
        "sanitize": SanitizeConfig(margin=0.0),
        "runner": RunnerConfig(model="echo"),
    }
    return GuardAlignConfig(**{**fields, **changes})


def red_detector(config: GuardAlignConfig | None = None) -> Detector:
    """A detector that flags patches that are mostly red."""
    detection = (config or red_config()).detection
    anchors = AnchorBank(
        categories={"weapon": ("red",)},
        neutral={colour: (colour,) for colour in ("green", "blue", "white", "black", "grey")},
    )
    detector = Detector.from_parts(FakeEncoder(), anchors, detection)
    fit = ThresholdFit(max_false_alarm=0.05, safe_images=100, false_alarm=0.0)
    binding = detector.meters[0].binding
    profile = ThresholdProfile(THRESHOLD, "none: made for tests", fit, binding)
    return Detector(detector.meters, detection, profile)


def red_guard(config: GuardAlignConfig | None = None) -> ImageGuard:
    """An `ImageGuard` whose detector flags red."""
    config = config or red_config()
    return ImageGuard(config, red_detector(config))


def counting_guard() -> tuple[ImageGuard, CountingEncoder]:
    """A guard that flags red, and its encoder, whose `batches` tell whether it scanned."""
    guard = red_guard()
    encoder = guard.detector.meters[0].encoder = CountingEncoder()
    return guard, encoder


def coarse_guard() -> ImageGuard:
    """A guard with patches as large as the picture, so that a large photo takes seconds."""
    detection = red_config().detection.model_copy(update={"patches": PatchConfig(sizes=(1.0,))})
    return red_guard(red_config(detection=detection))


def red_chain(
    config: GuardAlignConfig | None = None, runner: EchoRunner | None = None
) -> GuardAlign:
    """A `GuardAlign` that flags red and echoes the question."""
    return GuardAlign(red_guard(config), runner or EchoRunner())
