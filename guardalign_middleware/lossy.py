"""Lossy picture files: of about a size, or of the best quality that fits."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image

from guardalign_middleware.canonical import Pixels
from guardalign_middleware.likeness import BLOCK, shows
from guardalign_middleware.png import smallest_png

BEST = 96
# Pictures that are too large become files of these qualities; the lowest ones only for masked
# pictures, since `fitting_scale` has made sure that the others fit.
_QUALITIES = (90, 80, 70, 60, 50, 35, 20, 10)
_SLACK = 1.1
# A quality is left out where a sample is so much too large: the whole picture takes long.
_HOPELESS = 1.5
_SAMPLE_TILES, _SAMPLE_SIDE = 4, 192
_WEBP_EFFORT = 2
# Of larger pictures, a JPEG gets no Huffman tables of its own: Pillow would keep all coefficients,
# three bytes a pixel. Whether they fit is estimated in bands.
_LARGE = 16_000_000
_BAND_ROWS = 16 * BLOCK

Write = Callable[[Pixels], bytes]


def best_that_fits(
    pixels: Pixels, most: int, image_format: str, *, whole: bool = True
) -> tuple[list[bytes], int]:
    """Encode pixels in the best quality that fits and shows them.

    With half of the colours' detail, as is usual; with all of it where half does not show them.

    Args:
        pixels: uint8 `[H, W, 3]`.
        most: bytes of the file.
        image_format: `JPEG`; `WEBP`, which keeps the whole colours only without loss; or `PNG`,
            where nothing else is accepted.
        whole: as one file; otherwise in bands where the picture is large, which takes less memory
            and about as many bytes.

    Returns:
        The file, or the files of the bands from above, and 0. If none fits and shows the pixels:
        none, and the bytes of the smallest file with the whole colours that did not fit.
    """
    height, width = pixels.shape[:2]
    rows = height if whole or width * height <= _LARGE else _BAND_ROWS
    pieces = [pixels[top : top + rows] for top in range(0, height, rows)]
    too_large = []
    for ways in _searches(image_format):
        files, count = _first_that_fits(ways, pixels, pieces, most)
        shown = zip(files, pieces, strict=False)
        if files and all(shows(file, image_format, piece) for file, piece in shown):
            return files, 0
        too_large.append(count)
    # The usual way is smaller, but lost something.
    return [], next(filter(None, too_large[1:2]), too_large[-1])


def _searches(image_format: str) -> tuple[list[Write], ...]:
    """Ways to encode a picture, the best first; the next list is for what the last cannot show."""
    if image_format == "PNG":
        return ([smallest_png],)
    usual: list[Write] = [partial(lossy, image_format=image_format, quality=q) for q in _QUALITIES]
    if image_format == "WEBP":
        return usual, [partial(webp, lossless=True)]
    whole: list[Write] = [partial(jpeg, quality=q, subsampling=0) for q in _QUALITIES]
    return usual, whole, [partial(jpeg, quality=BEST, subsampling=0)]


def _first_that_fits(
    ways: Sequence[Write], pixels: Pixels, pieces: list[Pixels], most: int
) -> tuple[list[bytes], int]:
    """The files of the first way that fits, and the bytes of the one before it."""
    part = sample(pixels)
    share = part.size / pixels.size
    too_large = 0
    for way in ways:
        if share < 1 and (count := round(len(way(part)) / share)) > _HOPELESS * most:
            too_large = count
            continue
        files = [way(piece) for piece in pieces]
        count = sum(map(len, files))
        if count <= most:
            return files, too_large
        too_large = count
    return [], too_large


def of_size(pixels: Pixels, image_format: str, target: int, lowest: int) -> bytes:
    """A lossy picture of the highest quality at which it is at most about `target` bytes."""
    part = sample(pixels)
    share = part.size / pixels.size
    quality = _best(
        lowest, BEST, lambda value: len(lossy(part, image_format, value)) <= target * share
    )
    data = lossy(pixels, image_format, quality)
    while len(data) > target * _SLACK and quality > lowest:
        quality = max(lowest, quality - 4)
        data = lossy(pixels, image_format, quality)
    return data


def _best(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest number that fits, or `low`."""
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def sample(pixels: Pixels) -> Pixels:
    """Tiles from all over a large picture; a small one itself."""
    height, width = pixels.shape[:2]
    if min(height, width) <= _SAMPLE_TILES * _SAMPLE_SIDE:
        return pixels
    tops, lefts = (
        [(side - _SAMPLE_SIDE) * tile // (_SAMPLE_TILES - 1) for tile in range(_SAMPLE_TILES)]
        for side in (height, width)
    )
    rows = [
        np.hstack([pixels[top:, left:][:_SAMPLE_SIDE, :_SAMPLE_SIDE] for left in lefts])
        for top in tops
    ]
    return np.vstack(rows)


def lossy(pixels: Pixels, image_format: str, quality: int) -> bytes:
    """The pixels as `JPEG` or `WEBP` of this quality, with half of the colours' detail."""
    if image_format == "WEBP":
        return webp(pixels, quality=quality)
    return jpeg(pixels, quality=quality, subsampling=2)


def jpeg(pixels: Pixels, *, progressive: bool = False, **options: object) -> bytes:
    """The pixels as a JPEG, with Huffman tables of its own unless it is large.

    Args:
        pixels: uint8 `[H, W, 3]`, or `[H, W]` of a grey picture.
        progressive: as its source.
        options: others of Pillow.
    """
    picture = Image.fromarray(pixels)
    optimize = picture.width * picture.height <= _LARGE
    buffer = io.BytesIO()
    try:
        picture.save(buffer, "JPEG", optimize=optimize, progressive=progressive, **options)
    except OSError:
        # Pillow has too little room for a file with tables of its own of more than two bytes a
        # pixel, or one.
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def webp(pixels: Pixels, *, lossless: bool = False, quality: int = 50) -> bytes:
    """The pixels as a WebP."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(
        buffer, "WEBP", lossless=lossless, quality=quality, method=_WEBP_EFFORT
    )
    return buffer.getvalue()
