"""A guard that finds red things, and pictures for it: real stages around the public doubles."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from guardalign_middleware.config import (
    DetectionConfig,
    EncoderConfig,
    GuardAlignConfig,
    PatchConfig,
    RunnerConfig,
    SanitizeConfig,
    TransportConfig,
)
from guardalign_middleware.detection import AnchorBank, Detector, ThresholdProfile
from guardalign_middleware.detection.threshold import Calibration
from guardalign_middleware.guard import GuardAlign, ImageGuard
from guardalign_middleware.testing import EchoRunner, FakeEncoder
from guardalign_middleware.types import CanonicalImage

RED = (255, 0, 0)
BOX = (16, 32, 32, 48)
THRESHOLD = 0.2


def red_config(**changes: Any) -> GuardAlignConfig:
    """A config as a preset would give it; keywords replace fields."""
    fields: dict[str, Any] = {
        "name": "red",
        "detection": DetectionConfig(
            encoder=EncoderConfig(model="fake"),
            anchors=Path("unused.yaml"),
            patches=PatchConfig(sizes=(16.0,), unit="pixels"),
            transport=TransportConfig(contrast_temperature=0.05),
        ),
        # Without a margin, a test can say to the pixel what is hidden.
        "sanitize": SanitizeConfig(margin=0.0),
        "runner": RunnerConfig(model="echo"),
    }
    return GuardAlignConfig(**{**fields, **changes})


def red_detector(config: GuardAlignConfig | None = None) -> Detector:
    """Flags patches that are mostly red."""
    detection = (config or red_config()).detection
    anchors = AnchorBank(
        categories={"weapon": ("red",)},
        neutral={colour: (colour,) for colour in ("green", "blue", "white", "black", "grey")},
    )
    bare = Detector(FakeEncoder(), anchors, detection)
    calibration = Calibration(max_false_alarm=0.05, safe_images=100, false_alarm=0.0)
    profile = ThresholdProfile(THRESHOLD, "none: made for tests", calibration, bare.binding)
    return Detector(FakeEncoder(), anchors, detection, profile)


def red_guard(config: GuardAlignConfig | None = None) -> ImageGuard:
    """An `ImageGuard` whose detector flags red."""
    config = config or red_config()
    return ImageGuard(config, red_detector(config))


def red_chain(
    config: GuardAlignConfig | None = None, runner: EchoRunner | None = None
) -> GuardAlign:
    """A `GuardAlign` that flags red and echoes."""
    return GuardAlign(red_guard(config), runner or EchoRunner())


def picture(
    *, red: bool = False, side: int = 64, colour: tuple[int, int, int] = (0, 0, 255)
) -> CanonicalImage:
    """A plain square, with a red block at `BOX` when asked."""
    pixels = np.full((side, side, 3), colour, dtype=np.uint8)
    if red:
        x0, y0, x1, y1 = BOX
        pixels[y0:y1, x0:x1] = RED
    return CanonicalImage(pixels, "red.png" if red else "plain.png")


def all_red(side: int = 64) -> CanonicalImage:
    """A picture of which nothing is left when what is unsafe is hidden."""
    return picture(side=side, colour=RED)


def has_red(image: CanonicalImage) -> bool:
    """Whether anything unsafe is to be seen."""
    return bool((image.pixels == RED).all(axis=-1).any())


def png(image: CanonicalImage) -> bytes:
    """The picture as PNG bytes."""
    buffer = io.BytesIO()
    image.to_pil().save(buffer, "PNG")
    return buffer.getvalue()


def base64_png(image: CanonicalImage) -> str:
    """The picture as base64 PNG."""
    return base64.b64encode(png(image)).decode()


def data_url(image: CanonicalImage) -> str:
    """The picture as a data URL."""
    return f"data:image/png;base64,{base64_png(image)}"


def open_png(data: bytes) -> CanonicalImage:
    """The pixels of PNG bytes."""
    with Image.open(io.BytesIO(data)) as file:
        return CanonicalImage(np.asarray(file.convert("RGB")))
