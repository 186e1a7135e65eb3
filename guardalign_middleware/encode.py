"""Encoding scanned pixels as an image file of about the size that the picture came in.

A file is written from the pixels alone. Nothing else of the original file is in it: no metadata, no
thumbnail, no trailing bytes, and no pixels under transparency.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from PIL import Image

from guardalign_middleware.canonical import CanonicalImage, Pixels, SourceEncoding
from guardalign_middleware.config import OutputConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.png import palette_of, smallest_png

_MIME_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
}
_LARGEST_SIDE = 65_500
# Pictures that are too large become JPEGs of these qualities; the lowest ones only for masked
# pictures, since `fitting_scale` has made sure that the others fit at `_POOR`.
_QUALITIES = (90, 80, 70, 60, 50, 35, 20, 10)
_POOR = 50
# Noise takes 0.54 bytes a pixel at that quality.
_POOR_BYTES = 0.6
_MARGIN = 0.9
_ROUNDS = 8
_SLACK = 1.1
_HOPELESS = 1.5
_SAMPLE_TILES, _SAMPLE_SIDE = 4, 192
# Of a lossy picture whose own quality is not known.
_LOWEST, _BEST = 40, 96
_LEAST_OF_OTHERS = 80
_WEBP_EFFORT = 2
# Of larger pictures, a JPEG gets no Huffman tables of its own: Pillow would keep all coefficients,
# three bytes a pixel. Their size is estimated in bands.
_LARGE = 16_000_000
_BAND_ROWS = 512

DEFAULT_OUTPUT = OutputConfig()
FORMATS = ("JPEG", "PNG", "WEBP")
"""What pictures are written in; every provider takes them."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A picture file.

    Attributes:
        data: the bytes of the file.
        mime_type: `image/jpeg`, `image/png` or `image/webp`; another one only with
            `output.original`.
        width, height: of the picture, in pixels.
        resized: whether the guard has scaled the picture down.
    """

    data: bytes
    mime_type: str
    width: int
    height: int
    resized: bool = False


def mime_type_of(image_format: str) -> str:
    """The media type of a format, named as in `PIL.Image.OPEN`."""
    return _MIME_TYPES[image_format]


def encode(
    image: CanonicalImage,
    output: OutputConfig = DEFAULT_OUTPUT,
    formats: Collection[str] = FORMATS,
) -> Encoded:
    """Encode scanned pixels in the format of their source.

    JPEG takes the quantization tables and the subsampling of the source, so that it gets neither
    larger nor visibly worse. PNG and lossless WebP hold exactly the scanned pixels. A lossy WebP
    gets the highest quality at which it is no larger than its source. GIF, BMP and TIFF become PNG,
    which is smaller and which every provider takes. AVIF, HEIF and other lossy files become JPEG,
    because PNG would be ten times as large. A picture from no file becomes PNG. Another
    of the three takes the place of one that `formats` leaves out.

    Args:
        image: the picture, at its `fitting_scale`.
        output: the caps, and whether an unchanged picture keeps the bytes of its file.
        formats: those that the next guard accepts.

    Raises:
        GuardError: stage `output`; the picture does not fit into `output.max_bytes`.
    """
    if output.original and image.file is not None and image.encoding is not None:
        return _encoded(image, image.file, image.encoding.image_format)
    if not _hopeless(image, output.max_bytes):
        data, image_format = _as_its_source(image, formats)
        if len(data) <= output.max_bytes:
            return _encoded(image, data, image_format)
    image_format = _lossy_format(formats)
    return _encoded(image, _within(image, output.max_bytes, image_format), image_format)


def certainly_fits(image: CanonicalImage, output: OutputConfig) -> bool:
    """A quick test: True means that the picture leaves at its size; False means that it may not."""
    return output.original or (
        max(image.width, image.height) <= _longest(output) and _fits(image, output.max_bytes)
    )


def fitting_scale(
    image: CanonicalImage,
    output: OutputConfig = DEFAULT_OUTPUT,
    formats: Collection[str] = FORMATS,
) -> float:
    """The scale, at most 1, at which a picture is small enough to leave.

    A picture is too large if its longer side exceeds `output.max_side`, or if even a poor JPEG of
    it exceeds `output.max_bytes`. With `output.original`, none is.
    """
    scale = 1.0
    if output.original:
        return scale
    scale = min(scale, _longest(output) / max(image.width, image.height))
    for _ in range(_ROUNDS):
        count = _poor_bytes(scaled(image, scale), output.max_bytes, formats)
        if count <= output.max_bytes:
            break
        scale *= (output.max_bytes / count) ** 0.5 * _MARGIN
    return scale


def scaled(image: CanonicalImage, scale: float) -> CanonicalImage:
    """The picture at a scale of at most 1; the picture itself at 1."""
    if scale >= 1.0:
        return image
    # The longer side is rounded down and the shorter one up, so that no picture gets thinner.
    sides = (image.width, image.height)
    width, height = (
        max(1, math.floor(side * scale) if side == max(sides) else math.ceil(side * scale))
        for side in sides
    )

    def again() -> Pixels:
        picture = image.to_pil().resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(picture)

    return image.with_pixels(again(), image.scaled_from or sides, again)


def png_bytes(image: CanonicalImage) -> bytes:
    """The image as PNG: its pixels only, at the fastest level."""
    buffer = io.BytesIO()
    image.to_pil().save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _encoded(image: CanonicalImage, data: bytes, image_format: str) -> Encoded:
    resized = image.scaled_from is not None
    return Encoded(data, _MIME_TYPES[image_format], image.width, image.height, resized)


def _as_its_source(image: CanonicalImage, formats: Collection[str]) -> tuple[bytes, str]:
    source = image.encoding or SourceEncoding("PNG", 0)
    other = next((each for each in ("PNG", "WEBP", "JPEG") if each in formats), "PNG")
    lossy = _lossy_format(formats)
    match source.image_format, source.lossless:
        case "JPEG", _:
            return _like_jpeg(image, source), "JPEG"
        case "WEBP", True:
            other = "WEBP"
        case "WEBP", False:
            return _of_size(image.to_pil(), "WEBP", source.image_bytes, _LOWEST), "WEBP"
        case _, False if lossy in formats and palette_of(image.pixels) is None:
            return _of_size(image.to_pil(), lossy, source.image_bytes, _LEAST_OF_OTHERS), lossy
    if other == "JPEG":
        return _jpeg(image.to_pil(), quality=_BEST, subsampling=0), "JPEG"
    if other == "WEBP":
        return _webp(image.to_pil(), lossless=True, quality=50), "WEBP"
    return smallest_png(image.pixels, source.image_bytes), "PNG"


def _hopeless(image: CanonicalImage, most: int) -> bool:
    """Whether a lossless file is far too large, by a sample; the whole of it takes seconds."""
    if image.encoding is not None and not image.encoding.lossless:
        return False
    picture = image.to_pil()
    sample = _sample(picture)
    if sample is picture:
        return False
    share = sample.width * sample.height / (picture.width * picture.height)
    return len(smallest_png(np.asarray(sample))) > _HOPELESS * most * share


def _lossy_format(formats: Collection[str]) -> str:
    return "WEBP" if "JPEG" not in formats and "WEBP" in formats else "JPEG"


def _like_jpeg(image: CanonicalImage, source: SourceEncoding) -> bytes:
    picture = image.to_pil()
    if source.grey and _is_grey(image):
        picture = picture.getchannel(0)
    tables = [list(table) for table in source.quantization]
    options = {"qtables": tables} if tables else {"quality": _QUALITIES[0]}
    return _jpeg(picture, progressive=source.progressive, subsampling=source.subsampling, **options)


def _is_grey(image: CanonicalImage) -> bool:
    red, green, blue = (image.pixels[..., channel] for channel in range(3))
    return np.array_equal(red, green) and np.array_equal(red, blue)


def _within(image: CanonicalImage, most: int, image_format: str) -> bytes:
    """A lossy picture of the highest quality that fits.

    Raises:
        GuardError: stage `output`; none fits.
    """
    picture = image.to_pil()
    count = 0
    for quality in _QUALITIES:
        data = _lossy(picture, image_format, quality)
        count = len(data)
        if count <= most:
            return data
    raise GuardError(
        f"{image.source} takes {count:,} bytes even as a poor JPEG; output.max_bytes allows "
        f"{most:,}.",
        stage="output",
        remedy="Raise output.max_bytes, or turn output.original off.",
    )


def _of_size(picture: Image.Image, image_format: str, target: int, lowest: int) -> bytes:
    """A lossy picture of the highest quality at which it is at most about `target` bytes."""
    sample = _sample(picture)
    share = sample.width * sample.height / (picture.width * picture.height)
    quality = _best(
        lowest, _BEST, lambda value: len(_lossy(sample, image_format, value)) <= target * share
    )
    data = _lossy(picture, image_format, quality)
    while len(data) > target * _SLACK and quality > lowest:
        quality = max(lowest, quality - 4)
        data = _lossy(picture, image_format, quality)
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


def _sample(picture: Image.Image) -> Image.Image:
    """Tiles from all over a large picture; a small one itself."""
    side = _SAMPLE_TILES * _SAMPLE_SIDE
    if min(picture.size) <= side:
        return picture
    sample = Image.new("RGB", (side, side))
    for row in range(_SAMPLE_TILES):
        for column in range(_SAMPLE_TILES):
            left = (picture.width - _SAMPLE_SIDE) * column // (_SAMPLE_TILES - 1)
            top = (picture.height - _SAMPLE_SIDE) * row // (_SAMPLE_TILES - 1)
            tile = picture.crop((left, top, left + _SAMPLE_SIDE, top + _SAMPLE_SIDE))
            sample.paste(tile, (column * _SAMPLE_SIDE, row * _SAMPLE_SIDE))
    return sample


def _lossy(picture: Image.Image, image_format: str, quality: int) -> bytes:
    if image_format == "WEBP":
        return _webp(picture, lossless=False, quality=quality)
    return _jpeg(picture, quality=quality, subsampling=2)


def _lossy_bytes(image: CanonicalImage, image_format: str, quality: int) -> int:
    if image.width * image.height <= _LARGE:
        return len(_lossy(image.to_pil(), image_format, quality))
    bands = (image.pixels[top : top + _BAND_ROWS] for top in range(0, image.height, _BAND_ROWS))
    return sum(len(_lossy(Image.fromarray(band), image_format, quality)) for band in bands)


def _jpeg(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    optimize = picture.width * picture.height <= _LARGE
    picture.save(buffer, "JPEG", optimize=optimize, **options)
    return buffer.getvalue()


def _webp(picture: Image.Image, *, lossless: bool, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=lossless, quality=quality, method=_WEBP_EFFORT)
    return buffer.getvalue()


def _longest(output: OutputConfig) -> int:
    return min(output.max_side or _LARGEST_SIDE, _LARGEST_SIDE)


def _fits(image: CanonicalImage, most: int) -> bool:
    """Whether the picture fits for certain: it is small, or its own lossy file is."""
    source = image.encoding
    small = source is not None and not source.lossless and source.image_bytes * _SLACK <= most
    return small or image.width * image.height * _POOR_BYTES <= most


def _poor_bytes(image: CanonicalImage, most: int, formats: Collection[str]) -> int:
    """The bytes of a poor JPEG; 0 if the picture fits in another way."""
    if _fits(image, most):
        return 0
    count = _lossy_bytes(image, _lossy_format(formats), _POOR)
    # A pattern can be small as PNG and large as JPEG.
    fits = count <= most or len(_as_its_source(image, formats)[0]) <= most
    return 0 if fits else count
