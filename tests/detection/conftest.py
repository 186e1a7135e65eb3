from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from guardalign_middleware.config import DetectionConfig, EncoderConfig, FormConfig, PatchConfig
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.testing import FakeEncoder
from tests.support.colours import COLOUR_BANK

torch.set_num_threads(1)
# A busy machine must not fail a test.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def colour_config() -> DetectionConfig:
    return DetectionConfig(
        encoder=EncoderConfig(model="fake"),
        anchors=Path("unused.yaml"),
        sees=(FormConfig(kind="native"),),
        patches=PatchConfig(sizes=(32, 64), unit="pixels", max_crops=4096),
    )


@pytest.fixture
def detector(colour_config: DetectionConfig) -> Detector:
    return Detector.from_parts(FakeEncoder(), COLOUR_BANK, colour_config)
