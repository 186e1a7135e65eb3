"""Whether the value of a payload's field could be a file, in an object that is declared one.

Such a value stays only if it surely is none: a number, a short text, words, a digest, an address.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.declared import (
    LINK_KEYS,
    PAYLOAD_KEYS,
    WRAPPER_KEYS,
    begins_like_picture,
    file_bytes,
)
from guardalign_middleware.intake.picture_traces import starts_like_picture

# Characters of base64, and numbers, of the smallest file of a picture.
LEAST = 44

_LAYERS = 32
_FOREIGN = re.compile(r"[^A-Za-z0-9+/_-]+")
_FOREIGN_OR_URL = re.compile(r"[^A-Za-z0-9+/]+")
_ADDRESS = re.compile(r"\s*https?://", re.IGNORECASE)
_DIGEST = re.compile(r"\s*(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64})\s*")
_BETWEEN = re.compile(r"[^A-Za-z0-9+]+|_")
_WORD = re.compile(r"[A-Z]?[a-z]+|[0-9]{1,4}|[A-Z]{2,4}|[AI]")
_LONG_WORD = re.compile(r"[A-Z]?[a-z]{2,20}")
# Base64 that is cut into words has fewer small letters.
_SHARE_OF_WORDS = 0.7
_FIRST = 64
# Beside those that `starts_like_picture` knows: icons, PCX, PPM, and Targa, which has no mark.
_OTHER_FILES = re.compile(
    rb"\x00\x00[\x01\x02]\x00|\x0a[\x00-\x05]\x01|P[1-7][\s#]|.[\x00\x01][\x01-\x03\x09-\x0b]"
    rb"|#define|\s*<|\xff\x4f\xff\x51|\xd7\xcd\xc6\x9a|\x00\x00\x00\x0c|gimp|\x1f\x8b|PK",
    re.DOTALL,
)
_SVG = re.compile(r"\s*data:image/svg\+xml\b", re.IGNORECASE)
# Where a drawing may have a picture in it, without spaces: those are skipped in addresses.
_IN_DRAWING = re.compile(r"base64|data:|<(?:\w+:)?(?:image|feimage|foreignobject)|<!entity|&#|\\")
_SPACES = re.compile(r"[\s\0]+")


def is_file(value: object, left: int = _LAYERS) -> bool:
    """Whether a value could be a file, however it is written or damaged."""
    if value is None or isinstance(value, bool | int | float):
        return False
    if isinstance(value, str):
        return _is_file(value)
    if left == 0:
        return True
    if isinstance(value, list):
        if count_numbers(value) >= LEAST or any(is_file(item, left - 1) for item in value):
            return True
        # A text can be in pieces.
        return _is_file("\n".join(item for item in value if isinstance(item, str)))
    if isinstance(value, Mapping):
        # JavaScript writes bytes as {"0": 137, "1": 80, …}.
        numbered = sum(isinstance(key, str) and key.isdigit() for key in value)
        return numbered >= LEAST or any(is_file(item, left - 1) for item in payloads_in(value))
    return True


def payloads_in(fields: Mapping[Any, Any]) -> Iterable[Any]:
    """The values in a mapping that can be files."""
    for key, item in fields.items():
        if key in PAYLOAD_KEYS or key in WRAPPER_KEYS:
            yield item
        elif key in LINK_KEYS and isinstance(item, str) and is_data_url(item.lstrip()):
            yield item


def count_numbers(values: list[Any], left: int = _LAYERS) -> int:
    """The numbers in a list and in the lists in it."""
    if left == 0:
        return LEAST
    return sum(
        count_numbers(item, left - 1) if isinstance(item, list) else isinstance(item, int | float)
        for item in values
    )


def may_show(url: str) -> bool:
    """Whether a data URL of a picture holds one, rather than words about such URLs.

    A drawing in SVG is words, too, unless there could be a picture in it.
    """
    header, _, content = url.partition(",")
    if _SVG.match(url) is None:
        return _could_be_file(content) or begins_like_picture(url)
    coded = file_bytes(url) or b"" if "base64" in header.lower() else unquote_to_bytes(content)
    text = _SPACES.sub("", coded.decode(errors="replace").lower())
    if _IN_DRAWING.search(text):
        return True
    return not text.lstrip("\ufeff").startswith("<") and _could_be_file(content)


def _is_file(text: str) -> bool:
    if is_data_url(text.lstrip()):
        return bool(text.partition(",")[2].strip())
    if _ADDRESS.match(text) is not None:
        return begins_like_picture(text)
    return _could_be_file(text) or begins_like_picture(text)


def _could_be_file(text: str) -> bool:
    compact = _FOREIGN.sub("", text)
    if len(compact) < LEAST:
        return False
    if _DIGEST.fullmatch(text) is None and not _is_worded(text):
        return True
    return any(
        starts_like_picture(head) or _OTHER_FILES.match(head) is not None for head in _heads(text)
    )


def _is_worded(text: str) -> bool:
    """Whether a text is a sentence, or a path or a name of words."""
    words = [word for word in _BETWEEN.split(text) if word]
    if not all(map(_WORD.fullmatch, words)):
        return False
    long = sum(len(word) for word in words if _LONG_WORD.fullmatch(word))
    return long >= _SHARE_OF_WORDS * sum(map(len, words))


def _heads(text: str) -> Iterable[bytes]:
    """The first bytes of a text by each way to decode it."""
    for skipped in (_FOREIGN, _FOREIGN_OR_URL):
        part = skipped.sub("", text[: 8 * _FIRST])[:_FIRST]
        yield file_bytes(part[: len(part) // 4 * 4]) or b""
    digits = _FOREIGN.sub("", text[: 8 * _FIRST])[:_FIRST]
    try:
        yield binascii.unhexlify(digits[: len(digits) // 2 * 2])
    except ValueError:
        return
