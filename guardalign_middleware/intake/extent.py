"""Where a picture file ends inside longer bytes, read from its structure; nothing is decoded.

A JPEG can have a thumbnail behind it, and a line of base64 can go on with other words. Each format
says where it ends: PNG, GIF and JPEG have a last chunk, WebP, BMP and AVIF state their size.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}
_BMP_DEPTHS = {1, 4, 8, 16, 24, 32}
_ISO_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_ISO_BRANDS |= {b"mif1", b"msf1"}
# In the pixels of a JPEG, 255 is followed by 0 or by a restart marker.
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")


def picture_format(data: bytes | bytearray) -> str | None:
    """The format whose first bytes these are; None if they begin like no known picture."""
    head = bytes(data[:32])
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\x00", b"MM\x00*")):
        return "TIFF"
    if head[:2] == b"BM" and len(head) >= 30 and head[6:10] == bytes(4):
        depth = head[24:26] if head[14] == 12 else head[28:30]
        known = int.from_bytes(depth, "little") in _BMP_DEPTHS
        return "BMP" if known and head[14] in _BMP_HEADERS and not any(head[15:18]) else None
    return "AVIF" if head[4:8] == b"ftyp" and head[8:12] in _ISO_BRANDS else None


def picture_size(data: bytes) -> int | None:
    """Number of bytes of the picture file at the start of `data`.

    A TIFF has no end of its own: it takes everything, if its first directory is within the bytes.

    Returns:
        None if the file is cut off, or is no picture in a known format.
    """
    image_format = picture_format(data)
    if image_format is None:
        return None
    size = _SIZES[image_format](data)
    return size if size is not None and size <= len(data) else None


def _png(data: bytes) -> int | None:
    at = 8
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            return at
    return None


def _jpeg(data: bytes) -> int | None:
    at = 2
    while (match := _MARKER.match(data, at)) is not None:
        marker, at = data[match.end() - 1], match.end()
        if marker == 0xD9:
            return at
        if marker == 0x01:
            continue
        if at + 2 > len(data):
            return None
        at += int.from_bytes(data[at : at + 2], "big")
        if marker == 0xDA:
            end = _MARKER.search(data, at)
            if end is None:
                return None
            at = end.start()
    return None


def _gif(data: bytes) -> int | None:
    at = 13 + _palette(data, 10)
    while at < len(data):
        kind = data[at]
        if kind == 0x3B:
            return at + 1
        if kind == 0x21:
            at += 2
        elif kind == 0x2C and at + 10 <= len(data):
            at += 11 + _palette(data, at + 9)
        else:
            return None
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return None


def _palette(data: bytes, at: int) -> int:
    flags = data[at] if at < len(data) else 0
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(data: bytes) -> int | None:
    size = 8 + int.from_bytes(data[4:8], "little")
    return size + size % 2 if size % 2 and size < len(data) else size


def _tiff(data: bytes) -> int | None:
    order = "little" if data[:1] == b"I" else "big"
    directory = int.from_bytes(data[4:8], order)  # type: ignore[arg-type]
    return len(data) if 8 <= directory <= len(data) - 6 else None


def _bmp(data: bytes) -> int | None:
    stated = int.from_bytes(data[2:6], "little")
    # Some writers leave the size at 0.
    return stated if stated >= 30 else len(data)


def _iso(data: bytes) -> int | None:
    at = 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if not kind.isalnum():
            break
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:
            return len(data)
        if size < 8:
            break
        at += size
        if at > len(data):
            return None
    return at or None


_SIZES: dict[str, Callable[[bytes], int | None]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "GIF": _gif,
    "WEBP": _webp,
    "TIFF": _tiff,
    "BMP": _bmp,
    "AVIF": _iso,
}
