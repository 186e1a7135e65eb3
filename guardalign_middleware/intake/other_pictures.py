"""Whether bytes are a picture file, where two to four of them may be anything, such as numbers.

In a folder, a file that begins as an icon is one. A cell of a table holds digests, vectors and
texts as well, so here the header has to fit what follows. Nothing is decoded.
"""

from __future__ import annotations

import re
from typing import Literal

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake.formats import begins_as_picture
from guardalign_middleware.intake.pdf_marks import holds_objects

# Of an editor, JPEG 2000, JPEG XL and Radiance: too long for chance, or a picture everywhere else.
_SURE = (
    b"8BPS",
    b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cJXL ",
    b"v/1\x01\x02",
    b"#?RADIANCE\n",
)
_ICON = b"\0\0\x01\0"
_ICON_DEPTHS = {0, 1, 4, 8, 16, 24, 32}
_ICON_PARTS = (b"\x89PNG\r\n\x1a\n", b"\x28\0\0\0")
_NETPBM = re.compile(
    rb"P(?:([14])|[2356])\s+(?:#[^\n]*\s+)*([0-9]{1,9})\s+([0-9]{1,9})(?(1)|\s+[0-9]{1,5})\s"
)


def is_picture_file(data: bytes, policy: IntakePolicy) -> bool:
    """Whether a whole file is a picture or a PDF, also in a format that no model takes.

    JPEG XL without its container begins with two bytes and goes on as anything may. It counts
    where the policy accepts it.
    """
    if begins_as_picture(data, policy) or data.startswith(_SURE) or holds_objects(data):
        return True
    return _is_icon(data) or _is_texture(data) or _is_netpbm(data)


def _is_icon(data: bytes) -> bool:
    """Of Windows or of macOS, with the first of its pictures."""
    if data.startswith(b"icns"):
        size, part = _number(data, 4, "big"), _number(data, 12, "big")
        return 16 <= size <= len(data) and 8 <= part <= size - 8
    count, offset = _number(data, 4, "little", 2), _number(data, 18, "little")
    return (
        data.startswith(_ICON)
        and count > 0
        and data[9:10] == b"\0"
        and _number(data, 10, "little", 2) <= 1
        and _number(data, 12, "little", 2) in _ICON_DEPTHS
        and offset >= 6 + 16 * count
        and data.startswith(_ICON_PARTS, offset)
    )


def _is_texture(data: bytes) -> bool:
    if data.startswith(b"DDS "):
        return _number(data, 4, "little") == 124
    return (
        data.startswith(b"qoif") and data[12:13] in {b"\3", b"\4"} and data[13:14] in {b"\0", b"\1"}
    )


def _is_netpbm(data: bytes) -> bool:
    """With as many bytes as its pixels take at least."""
    match = _NETPBM.match(data)
    if match is None:
        return False
    width, height = int(match[2]), int(match[3])
    row = (width + 7) // 8 if match[1] == b"4" else width
    if match[1] == b"1" and data[match.end() :].lstrip()[:1] not in {b"0", b"1", b"#"}:
        return False
    return 0 < row * height <= len(data) - match.end()


def _number(data: bytes, at: int, order: Literal["big", "little"], size: int = 4) -> int:
    """0 behind the end."""
    return int.from_bytes(data[at : at + size], order)
