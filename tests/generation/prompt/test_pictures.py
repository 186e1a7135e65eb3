"""A processor that reads large pictures one by one makes of them what it makes of all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, BatchFeature

from guardalign_middleware.errors import MessageError
from guardalign_middleware.generation.prompt import pictures
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts, PromptEncoder
from guardalign_middleware.generation.prompt.pictures import PictureHandover
from guardalign_middleware.intake import load_image
from guardalign_middleware.types import CanonicalImage
from tests.support.messages import user
from tests.support.pictures import encode, gradient
from tests.support.tiny.models import FAMILIES

SIZES = [(90, 70), (64, 48), (30, 120), (3, 40)]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def processor(request: pytest.FixtureRequest, model_directory: Callable[[str], Path]) -> Any:
    return AutoProcessor.from_pretrained(model_directory(request.param))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("count", [1, 4])
def test_one_by_one_is_the_same_as_together(
    monkeypatch: pytest.MonkeyPatch, processor: Any, count: int
) -> None:
    shown = [load_image(encode(gradient(*size))) for size in SIZES[:count]]

    def encoded(most: int) -> EncodedPrompts | str:
        monkeypatch.setattr(pictures, "_TOGETHER", most)
        prompts = PromptEncoder(processor, prefix="Be careful.", placement="before_instruction")
        try:
            return prompts.encode([[user(*shown, "What?")]], prefix=[True], spans=True)
        except MessageError as error:
            return error.message

    together, alone = encoded(10**9), encoded(0)
    if isinstance(together, str) or isinstance(alone, str):
        assert alone == together  # not every model takes four pictures
        return
    assert alone.inputs.keys() == together.inputs.keys()
    for name, value in together.inputs.items():
        assert torch.equal(alone.inputs[name], value), name
    assert torch.equal(alone.instruction_mask, together.instruction_mask)


class Reader:
    """An image processor of means; `padded` makes results depend on the other pictures."""

    size = 1

    def __init__(self, padded: bool = False) -> None:
        self.padded = padded
        self.at_once = 0

    def __call__(self, images: Any, **_: Any) -> BatchFeature:
        self.at_once = max(self.at_once, len(images))
        arrays = [
            np.asarray(each).transpose(2, 0, 1) if isinstance(each, Image.Image) else each.numpy()
            for each in images
        ]
        longest = max(array.shape[2] for array in arrays) if self.padded else 1
        means = [[float(array.mean())] * longest for array in arrays]
        return BatchFeature({"pixel_values": torch.tensor(means)})


class Processor:
    """Holds an image processor."""

    def __init__(self, reader: Reader) -> None:
        self.image_processor = reader


def handed(reader: Reader, images: list[CanonicalImage]) -> Any:
    processor = Processor(reader)
    twin, rows = PictureHandover().arrange(processor, [images])
    assert processor.image_processor is reader
    assert twin.image_processor.size == 1
    assert [picture.size for picture in rows[0]] == [(each.width, each.height) for each in images]
    return twin.image_processor(rows[0]).pixel_values


@pytest.mark.parametrize("padded", [False, True])
def test_large_pictures_are_read_alone_where_it_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch, padded: bool
) -> None:
    monkeypatch.setattr(pictures, "_TOGETHER", 100)
    reader = Reader(padded)
    images = [load_image(encode(gradient(20, height))) for height in range(10, 18)]
    expected = [float(image.pixels.mean()) for image in images]
    values = handed(reader, images)
    assert values[:, 0].tolist() == pytest.approx(expected)
    if padded:
        assert reader.at_once == len(images)
    else:
        # Those that are tried come together; of the large ones, none keeps its pixels.
        assert reader.at_once == len(pictures._TRIED)
        assert not any("pixels" in vars(image) for image in images)


def test_small_pictures_go_together() -> None:
    processor = Processor(Reader())
    image = load_image(gradient(20, 10))
    twin, rows = PictureHandover().arrange(processor, [[image, image]])
    assert twin is processor
    assert [type(picture) for picture in rows[0]] == [Image.Image] * 2
