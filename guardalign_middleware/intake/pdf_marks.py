"""Whether a file that is declared something else is a PDF file, by its bytes; nothing is decoded.

Readers take a PDF file whose header begins anywhere in the first 1024 bytes. A text may speak of
PDF headers; it becomes a PDF file with an object behind one, or with nothing in front.
"""

from __future__ import annotations

import re

REACH = 1024 + 5
"""No header ends behind this many bytes."""

_HEADER = b"%PDF-"
_NOTHING = b"\x00\t\n\x0b\x0c\r \xef\xbb\xbf"
_SPACE = rb"(?:[\x00\s]|%[^\r\n]{0,200}[\r\n]){1,50}"
_OBJECT = re.compile(rb"[\x00\s]obj")
_NUMBERED = re.compile(rb"\d" + _SPACE + rb"\d{1,10}" + _SPACE + rb"$")
_BEFORE = 256
_MOST = 10_000


def begins_like_pdf(data: bytes) -> bool:
    """Whether a file begins with the header of a PDF file, or with nothing and then that."""
    return data[:REACH].lstrip(_NOTHING).startswith(b"%PDF")


def may_be_pdf(head: bytes) -> bool:
    """Whether a header is among the first bytes of a file."""
    return _HEADER in head[:REACH] or begins_like_pdf(head)


def is_pdf(data: bytes) -> bool:
    """Whether readers would take a whole file for a PDF file."""
    return begins_like_pdf(data) or holds_objects(data)


def holds_objects(data: bytes) -> bool:
    """Whether a file has the header of a PDF file and something behind it that a reader shows."""
    at = data.find(_HEADER, 0, REACH)
    return at >= 0 and _has_object(data, at)


def _has_object(data: bytes, start: int) -> bool:
    """Whether something is numbered as an object; also if there is too much to look at."""
    for count, match in enumerate(_OBJECT.finditer(data, start)):
        at = match.end() - 3
        if count == _MOST or _NUMBERED.search(data[max(start, at - _BEFORE) : at]):
            return True
    return False
