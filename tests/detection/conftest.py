from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from guardalign_middleware.config import DetectionConfig, EncoderConfig, PatchConfig
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.testing import FakeEncoder
from guardalign_middleware.types import Box, CanonicalImage

torch.set_num_threads(1)
# A busy machine must not fail a test.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def scene(width: int, height: int, squares: dict[Box, tuple[int, int, int]]) -> CanonicalImage:
    pixels = np.full((height, width, 3), 127, dtype=np.uint8)
    for (x0, y0, x1, y1), colour in squares.items():
        pixels[y0:y1, x0:x1] = colour
    return CanonicalImage(pixels)


COLOUR_BANK = AnchorBank(
    categories={"fire": ("red", "red red grey"), "toxic": ("yellow",)},
    neutral={"sky": ("blue",), "grass": ("green", "green grey"), "wall": ("grey", "white")},
)


@pytest.fixture
def colour_config() -> DetectionConfig:
    return DetectionConfig(
        encoder=EncoderConfig(model="fake"),
        anchors=Path("unused.yaml"),
        patches=PatchConfig(sizes=(32, 64), unit="pixels"),
    )


@pytest.fixture
def detector(colour_config: DetectionConfig) -> Detector:
    return Detector.from_parts(FakeEncoder(), COLOUR_BANK, colour_config)
