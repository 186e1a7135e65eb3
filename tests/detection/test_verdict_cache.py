from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from guardalign_middleware.config import DetectionConfig
from guardalign_middleware.detection.conformal import fit_threshold
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.testing import FakeEncoder
from guardalign_middleware.types import CanonicalImage
from tests.support.colours import COLOUR_BANK, scene

RED = (255, 0, 0)


class CountingEncoder(FakeEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.pictures = 0

    def encode_images(self, pixels: Tensor) -> Tensor:
        self.pictures += len(pixels)
        return super().encode_images(pixels)


def remembering(config: DetectionConfig, size: int) -> tuple[Detector, CountingEncoder]:
    encoder = CountingEncoder()
    config = config.model_copy(update={"remembered_verdicts": size})
    bare = Detector.from_parts(encoder, COLOUR_BANK, config)
    profile = replace(fit_threshold([0.5] * 100, binding=bare.meters[0].binding), threshold=0.4)
    return Detector(bare.meters, config, profile), encoder


def named(image: CanonicalImage, source: str) -> CanonicalImage:
    return CanonicalImage(image.pixels, source)


def test_an_equal_picture_is_not_encoded_again(colour_config: DetectionConfig) -> None:
    detector, encoder = remembering(colour_config, 2)
    image = scene(100, 80, {(20, 20, 60, 60): RED})
    first = detector.scan(named(image, "a.png"))
    count = encoder.pictures
    again = detector.scan(named(image, "b.png"))
    assert encoder.pictures == count
    assert (first.source, again.source) == ("a.png", "b.png")
    assert replace(again, source="a.png") == first
    assert again.evidence is first.evidence
    changed = image.pixels.copy()
    changed[0, 0, 0] ^= 1
    detector.scan(CanonicalImage(changed))
    assert encoder.pictures > count


def test_new_and_known_pictures_keep_their_order(colour_config: DetectionConfig) -> None:
    detector, encoder = remembering(colour_config, 8)
    images = [scene(64 + k, 64, {(0, 0, 30 + k, 40): RED}) for k in range(4)]
    known = detector.scan_many(images[1:3])
    count = encoder.pictures
    verdicts = detector.scan_many(images)
    assert [v.width for v in verdicts] == [64, 65, 66, 67]
    assert verdicts[1:3] == known
    assert [v.sha256 for v in verdicts] == [image.sha256 for image in images]
    assert encoder.pictures > count
    assert detector.scan_many([]) == []


def test_the_oldest_goes(colour_config: DetectionConfig) -> None:
    detector, encoder = remembering(colour_config, 2)
    first, second, third = (scene(64 + k, 64, {}) for k in range(3))
    detector.scan_many([first, second])
    detector.scan(first)  # asked for again, so the second one is the oldest
    detector.scan(third)
    count = encoder.pictures
    detector.scan(first)
    assert encoder.pictures == count
    detector.scan(second)
    assert encoder.pictures > count


@pytest.mark.parametrize("size", [0, 3])
def test_threads_get_what_one_would(colour_config: DetectionConfig, size: int) -> None:
    detector, _ = remembering(colour_config, size)
    rng = np.random.default_rng(0)
    images = [scene(64 + k, 64, {(0, 0, 8 * k + 8, 32): RED}) for k in range(6)]
    asked = [images[index] for index in rng.integers(0, 6, 60)]
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(detector.scan, asked))
    assert all(v.sha256 == image.sha256 for v, image in zip(verdicts, asked, strict=True))
    assert len(detector._verdicts) == size
