"""What a picture file says about how it was encoded: tables of a JPEG, the kind of a WebP."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, JpegImagePlugin

from guardalign_middleware.canonical import SourceEncoding

_LOSSY = {"AVIF", "HEIF"}
_LOSSY_TIFF = {"jpeg", "tiff_jpeg", "webp"}
_TABLE = 64
_COLOURS = 3
_FIRST_CHUNK = 12
_HEADER = 8  # of a RIFF chunk: its name and size
_FRAME_HEADER = 16


def source_encoding(
    picture: Image.Image, data: bytes, image_format: str, size: tuple[int, int]
) -> SourceEncoding:
    """Read how an opened picture was encoded.

    Args:
        picture: opened by Pillow from `data`.
        data: the bytes of the file.
        image_format: its key in `PIL.Image.OPEN`.
        size: width and height of the upright picture.
    """
    if image_format == "JPEG" and isinstance(picture, JpegImagePlugin.JpegImageFile):
        turned = picture.width != picture.height and size == (picture.height, picture.width)
        return _jpeg(picture, len(data), turned)
    if image_format == "WEBP":
        lossless, count = _webp(data)
        return SourceEncoding(image_format, count, lossless)
    lossy = image_format in _LOSSY or picture.info.get("compression") in _LOSSY_TIFF
    return SourceEncoding(image_format, len(data), not lossy)


def _jpeg(picture: JpegImagePlugin.JpegImageFile, count: int, turned: bool) -> SourceEncoding:
    tables = _tables(picture)
    if turned:
        tables = [
            tuple(table[index % 8 * 8 + index // 8] for index in range(64)) for table in tables
        ]
    subsampling = JpegImagePlugin.get_sampling(picture)
    return SourceEncoding(
        "JPEG",
        count,
        lossless=False,
        grey=picture.mode == "L",
        progressive=bool(picture.info.get("progressive")),
        quantization=tuple(tables),
        subsampling=subsampling if subsampling in {0, 1} else 2,
    )


def _tables(picture: JpegImagePlugin.JpegImageFile) -> list[tuple[int, ...]]:
    """The tables of brightness and colours; the last one holds for the components after it.

    A component names its table by a number, which says nothing about what the table is for.
    """
    named = [picture.quantization.get(component[3], ()) for component in picture.layer]
    tables = [tuple(np.clip(table, 1, 255).tolist()) for table in named[:_COLOURS]]
    if any(len(table) != _TABLE for table in tables):
        return []
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    return tables


def _webp(data: bytes) -> tuple[bool, int]:
    """Whether the first frame is lossless, and its bytes; lossy if the file does not say."""
    for name, start, count in _chunks(data, _FIRST_CHUNK, len(data)):
        if name == b"ANMF":
            frame = _chunks(data, start + _FRAME_HEADER, start + count)
            for inner, _, inner_count in frame:
                if inner in {b"VP8 ", b"VP8L"}:
                    return inner == b"VP8L", inner_count
        if name in {b"VP8 ", b"VP8L"}:
            return name == b"VP8L", count
    return False, len(data)


def _chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and bytes of each chunk of a RIFF file."""
    while at + _HEADER <= end:
        count = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at + _HEADER, count
        at += _HEADER + count + count % 2
