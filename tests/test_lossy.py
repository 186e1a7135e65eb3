"""Lossy files take the best quality that fits, and show what they were made of."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from guardalign_middleware import lossy
from guardalign_middleware.likeness import shows
from guardalign_middleware.lossy import best_that_fits
from guardalign_middleware.testing.photos import photo

NOISE = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)


def sampling(file: bytes) -> int:
    from PIL.JpegImagePlugin import get_sampling

    with Image.open(io.BytesIO(file)) as picture:
        return get_sampling(picture)


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
def test_a_photo_takes_the_best_quality_that_fits(image_format: str) -> None:
    pixels = np.asarray(photo(400, 300).filter(ImageFilter.GaussianBlur(1)))
    sizes = []
    for most in (200_000, 15_000, 13_000):
        (file,), _ = best_that_fits(pixels, most, image_format)
        assert len(file) <= most
        assert shows(file, image_format, pixels)
        sizes.append(len(file))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2]


def test_noise_keeps_its_colours() -> None:
    (file,), _ = best_that_fits(NOISE, 1_000_000, "JPEG")
    assert sampling(file) == 0
    assert shows(file, "JPEG", NOISE)
    (file,), _ = best_that_fits(NOISE, 1_000_000, "WEBP")
    with Image.open(io.BytesIO(file)) as picture:
        assert (np.asarray(picture.convert("RGB")) == NOISE).all()


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
def test_what_no_file_that_fits_shows_is_not_written(image_format: str) -> None:
    files, too_large = best_that_fits(NOISE, 100_000, image_format)
    assert files == []
    assert too_large > 100_000


@pytest.mark.parametrize("side", [31, 97])
@pytest.mark.parametrize("colours", [2, 256])
def test_the_last_way_shows_everything(side: int, colours: int) -> None:
    rng = np.random.default_rng(side)
    for _ in range(20):
        levels = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
        pixels = levels[rng.integers(0, colours, (side, side))]
        for image_format in ("JPEG", "WEBP"):
            last = lossy._searches(image_format)[-1]
            assert shows(last[0](pixels), image_format, pixels)


def test_a_large_picture_is_estimated_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.asarray(photo(900, 1300))
    (file,), _ = best_that_fits(pixels, 10**6, "JPEG")
    monkeypatch.setattr(lossy, "_LARGE", 10**6)
    assert len(best_that_fits(pixels, 10**6, "JPEG")[0]) == 1
    bands, _ = best_that_fits(pixels, 10**6, "JPEG", whole=False)
    assert len(bands) == 3
    assert sum(map(len, bands)) == pytest.approx(len(file), rel=0.1)
    noise = np.tile(NOISE, (4, 3, 1))
    assert best_that_fits(noise, 10**6, "JPEG", whole=False)[0] == []


def test_a_file_larger_than_pillow_has_room_for_is_written() -> None:
    fine = [[1] * 64]
    file = lossy.jpeg(np.tile(NOISE, (2, 1, 1)), qtables=fine, subsampling=0, progressive=True)
    with Image.open(io.BytesIO(file)) as picture:
        assert picture.size == (400, 600)
        picture.load()


def test_the_search_for_a_quality_finds_the_best() -> None:
    for best in range(40, 97):
        assert lossy._best(40, 96, best.__ge__) == best
    assert lossy._best(40, 96, lambda _: False) == 40


def test_a_sample_is_of_all_parts_of_a_large_picture() -> None:
    small = np.asarray(photo(768, 900))
    assert lossy.sample(small) is small
    large = np.zeros((1000, 1200, 3), dtype=np.uint8)
    large[-192:, -192:] = 200
    assert lossy.sample(large).shape == (768, 768, 3)
    assert (lossy.sample(large)[-192:, -192:] == 200).all()
    assert lossy.sample(large)[:-192].max() == 0
