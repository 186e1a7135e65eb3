from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from guardalign_middleware.config import DetectionConfig
from guardalign_middleware.detection.anchor_cache import embedded_texts
from guardalign_middleware.detection.detector import Detector
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.testing import FakeEncoder
from tests.support.colours import COLOUR_BANK, scene

TEXTS = ("red", "blue", "green grey", "white")


class CountingEncoder(FakeEncoder):
    def __init__(self, image_size: int = 16) -> None:
        super().__init__(image_size)
        self.texts = 0

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        self.texts += len(texts)
        return super().encode_texts(texts)


def test_known_texts_are_read_and_equal(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    fresh = embedded_texts(encoder, TEXTS, tmp_path / "cache")
    assert encoder.texts == 1 + len(TEXTS)
    again = embedded_texts(encoder, TEXTS, tmp_path / "cache")
    assert encoder.texts == 2 + len(TEXTS)
    assert torch.equal(again, fresh)
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".safetensors"]


def test_other_words_order_or_weights_are_other_files(tmp_path: Path) -> None:
    for texts, encoder in (
        (TEXTS, CountingEncoder()),
        (TEXTS[::-1], CountingEncoder()),
        (TEXTS[:2], CountingEncoder()),
        (TEXTS, CountingEncoder(8)),
    ):
        rows = embedded_texts(encoder, texts, tmp_path)
        assert torch.equal(rows, FakeEncoder().encode_texts(texts))
        assert encoder.texts == 1 + len(texts)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    "rows",
    [
        None,
        torch.zeros(4, 7),
        torch.full((4, 7), torch.nan),
        torch.eye(7)[:3],
        torch.eye(7)[[1, 1, 2, 3]],  # unit rows, but the first is of another text
    ],
)
def test_a_damaged_file_is_made_anew(tmp_path: Path, rows: Tensor | None) -> None:
    expected = embedded_texts(FakeEncoder(), TEXTS, tmp_path)
    (file,) = tmp_path.iterdir()
    if rows is None:
        file.write_bytes(file.read_bytes()[:20])
    else:
        save_file({"anchors": rows}, file)
    assert torch.equal(embedded_texts(FakeEncoder(), TEXTS, tmp_path), expected)
    counting = CountingEncoder()
    embedded_texts(counting, TEXTS, tmp_path)
    assert counting.texts == 1


def test_the_detector_says_the_same_with_and_without(
    colour_config: DetectionConfig, tmp_path: Path
) -> None:
    image = scene(100, 80, {(20, 20, 60, 60): (255, 0, 0)})
    (plain,) = Detector.from_parts(FakeEncoder(), COLOUR_BANK, colour_config).distances(image)
    config = colour_config.model_copy(update={"anchor_cache": tmp_path})
    for _ in range(2):
        (cached,) = Detector.from_parts(FakeEncoder(), COLOUR_BANK, config).distances(image)
        assert cached.distance == plain.distance


@pytest.mark.skipif(sys.platform == "win32", reason="needs a path below a file")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="anchor_cache"):
        embedded_texts(FakeEncoder(), TEXTS, tmp_path / "file" / "cache")
