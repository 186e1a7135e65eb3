"""Encoding scanned pixels as an image file of about the size that the picture came in.

A file is written from the pixels alone, and shows what was scanned: a lossy one is compared with
it. Nothing else of the original file is in it: no metadata, no
thumbnail, no trailing bytes, and no pixels under transparency.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from guardalign_middleware.canonical import CanonicalImage, Pixels, SourceEncoding
from guardalign_middleware.config import OutputConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.likeness import shows
from guardalign_middleware.lossy import BEST, best_that_fits, jpeg, of_size, sample, webp
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
# Noise takes 3.2 bytes a pixel in a file that shows it.
_NOISE_BYTES = 3.3
_MARGIN, _LEAST_SCALE = 0.9, 0.5
_ROUNDS = 8
# Of a product that is a whole number of pixels.
_ROUNDING = 1e-6
# How much larger a file may get that is written again.
_SLACK, _LOSSLESS_SLACK = 1.1, 1.5
# How much larger a WebP without loss may be than the best lossy one.
_EXACT_SLACK = 2.0
_HOPELESS = 1.5
# Of a JPEG without tables, and of lossy pictures whose own quality is not known.
_USUAL, _LOWEST, _LEAST_OF_OTHERS = 90, 40, 80
# For a lossy WebP that does not show its pixels at the size that it came in.
_BETTER = (75, 88, BEST)
# A JPEG of quality 60 or less does not always show its pixels when it was turned: its tables'
# mean, and the shares of them that are tried.
_COARSE, _FINER = 45, (0.75, 0.5)

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
    larger nor visibly worse; what that does not show, as `likeness` defines it, is encoded in
    another way, and this holds for every lossy file. PNG and lossless WebP hold exactly the scanned
    pixels. A lossy WebP gets the highest quality at which it is no larger than its source, or one
    of a few higher ones that shows it. GIF, BMP and TIFF become PNG, which is smaller and which
    every provider takes. AVIF, HEIF and other lossy files become JPEG, because PNG would be ten
    times as large. A picture from no file becomes PNG. Another of the three takes the place of one
    that `formats` leaves out.

    Args:
        image: the picture, at its `fitting_scale`.
        output: the caps, and whether an unchanged picture keeps the bytes of its file.
        formats: those that the next guard accepts.

    Raises:
        GuardError: stage `output`; no file within `output.max_bytes` shows the picture.
    """
    if output.original and image.file is not None and image.encoding is not None:
        return _encoded(image, image.file, image.encoding.image_format)
    if found := _like_source(image, output.max_bytes, formats):
        return _encoded(image, *found)
    image_format = _smallest_format(formats)
    files, too_large = best_that_fits(image.pixels, output.max_bytes, image_format)
    if not files:
        raise GuardError(
            f"{image.source} takes {too_large:,} bytes as a file that shows what was scanned; "
            f"output.max_bytes allows {output.max_bytes:,}.",
            stage="output",
            remedy="Raise output.max_bytes, lower output.max_side, or turn output.original off.",
        )
    return _encoded(image, files[0], image_format)


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

    A picture is too large if its longer side exceeds `output.max_side`, or if no file within
    `output.max_bytes` shows it. With `output.original`, none is.
    """
    if output.original:
        return 1.0
    scale = min(1.0, _longest(output) / max(image.width, image.height))
    for _ in range(_ROUNDS):
        count = _too_large(scaled(image, scale), output.max_bytes, formats)
        if not count:
            return scale
        # By no more than half: noise is smoothed by it, and then takes fewer bytes.
        scale *= max(math.sqrt(output.max_bytes / count) * _MARGIN, _LEAST_SCALE)
    noise = image.width * image.height * _NOISE_BYTES
    return min(scale, math.sqrt(output.max_bytes / noise) * _MARGIN)


def scaled(image: CanonicalImage, scale: float) -> CanonicalImage:
    """The picture at a scale of at most 1; the picture itself at 1."""
    if scale >= 1.0:
        return image
    # The longer side is rounded down and the shorter one up, so that no picture gets thinner.
    sides = (image.width, image.height)
    longest = math.floor(max(sides) * scale + _ROUNDING)
    width, height = (
        max(1, longest if side == max(sides) else math.ceil(side * scale)) for side in sides
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


def _like_source(
    image: CanonicalImage, most: int, formats: Collection[str]
) -> tuple[bytes, str] | None:
    """A file like the source's, and its format; None if it is too large or shows other pixels."""
    if _hopeless(image, most):
        return None
    for data, image_format, lossless in _as_its_source(image, formats):
        if len(data) <= most and (lossless or shows(data, image_format, image.pixels)):
            return data, image_format
    return None


def _as_its_source(
    image: CanonicalImage, formats: Collection[str]
) -> Iterator[tuple[bytes, str, bool]]:
    """Files, their format, and whether they hold the pixels exactly; the likest one first."""
    source, pixels = image.encoding or SourceEncoding("PNG", 0), image.pixels
    other = next((each for each in ("PNG", "WEBP", "JPEG") if each in formats), "PNG")
    smallest = _smallest_format(formats)
    match source.image_format, source.lossless:
        case "JPEG", _:
            for subsampling in sorted({source.subsampling, 0}, reverse=True):
                yield _like_jpeg(pixels, source, subsampling), "JPEG", False
            if source.quantization and np.mean(source.quantization[0]) >= _COARSE:
                for share in _FINER:
                    yield _like_jpeg(pixels, source, source.subsampling, share), "JPEG", False
            return
        case "WEBP", True:
            other = "WEBP"
        case "WEBP", False:
            first = of_size(pixels, "WEBP", source.image_bytes, _LOWEST)
            yield first, "WEBP", False
            best = first
            for data in (webp(pixels, quality=quality) for quality in _BETTER):
                if len(data) > len(best):
                    yield data, "WEBP", False
                    best = data
            # Flat colours, which a lossy WebP always blurs, take little without loss.
            exact = webp(pixels, lossless=True)
            if len(exact) <= _EXACT_SLACK * len(best):
                yield exact, "WEBP", True
            return
        case _, False if smallest in formats and smallest != "PNG" and palette_of(pixels) is None:
            yield of_size(pixels, smallest, source.image_bytes, _LEAST_OF_OTHERS), smallest, False
            return
    if other == "JPEG":
        yield jpeg(pixels, quality=BEST, subsampling=0), "JPEG", False
    elif other == "WEBP":
        yield webp(pixels, lossless=True), "WEBP", True
    else:
        yield smallest_png(pixels, source.image_bytes), "PNG", True


def _hopeless(image: CanonicalImage, most: int) -> bool:
    """Whether a lossless file is far too large, by a sample; the whole of it takes seconds."""
    if image.encoding is not None and not image.encoding.lossless:
        return False
    part = sample(image.pixels)
    share = part.size / image.pixels.size
    return share < 1 and len(smallest_png(part)) > _HOPELESS * most * share


def _smallest_format(formats: Collection[str]) -> str:
    """The format for what is too large in its own: PNG only if the next guard takes no other."""
    return next((each for each in ("JPEG", "WEBP", "PNG") if each in formats), "JPEG")


def _like_jpeg(pixels: Pixels, source: SourceEncoding, subsampling: int, share: float = 1) -> bytes:
    """A JPEG with the source's tables, or with finer ones: a share of them."""
    if source.grey and _is_grey(pixels):
        pixels = pixels[..., 0]
    tables = [[math.ceil(step * share) for step in table] for table in source.quantization]
    options = {"qtables": tables} if tables else {"quality": _USUAL}
    return jpeg(pixels, progressive=source.progressive, subsampling=subsampling, **options)


def _is_grey(pixels: Pixels) -> bool:
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return np.array_equal(red, green) and np.array_equal(red, blue)


def _longest(output: OutputConfig) -> int:
    return min(output.max_side or _LARGEST_SIDE, _LARGEST_SIDE)


def _fits(image: CanonicalImage, most: int) -> bool:
    """Whether the picture fits for certain: it is small, or its own file is."""
    if image.width * image.height * _NOISE_BYTES <= most:
        return True
    source = image.encoding
    if source is None:
        return False
    return source.image_bytes * (_LOSSLESS_SLACK if source.lossless else _SLACK) <= most


def _too_large(image: CanonicalImage, most: int, formats: Collection[str]) -> int:
    """The bytes of the smallest file that does not fit; 0 if one fits and shows the picture."""
    if _fits(image, most):
        return 0
    files, count = best_that_fits(image.pixels, most, _smallest_format(formats), whole=False)
    # A pattern can be small as PNG and large as JPEG.
    return 0 if files or _like_source(image, most, formats) else count
