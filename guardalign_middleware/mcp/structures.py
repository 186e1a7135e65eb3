"""Structures in the messages of MCP: objects of a server's own, whose shape a schema may state.

What they are called says little: a listing has a type and a size, and `data` of an image may be its
width. So one is a file only if it holds one, and only the file gives way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from guardalign_middleware.intake.containers import as_file
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.declared import (
    WRAPPER_KEYS,
    Declared,
    begins_like_picture,
    file_bytes,
)
from guardalign_middleware.intake.dialects import data_url, encode
from guardalign_middleware.intake.hidden_images import hidden_images
from guardalign_middleware.intake.type_fields import with_types_beside

Fields = Mapping[Any, Any]

_CONTENT = re.compile(r"(?:result|params)\.(?:content|contents|messages)\b")
# No word is so long, and no picture in base64 is shorter; in a data URL, escapes count.
_RUN = re.compile(r"\s*[A-Za-z0-9+/_=%-]{44}")
_SVG = re.compile(r"\s*data:image/svg\+xml\b", re.IGNORECASE)


def is_structure(place: str) -> bool:
    """Whether a place is none of content, which a client shows to its model block by block."""
    return ".structuredContent" in place or _CONTENT.match(place) is None


def holds_file(found: Declared) -> bool:
    """Whether something in an object that is declared a file is one."""
    return any(map(is_file, found.payloads))


def is_file(value: object) -> bool:
    """Whether a value is bytes of a file: numbers, base64 or a data URL, however damaged."""
    if isinstance(value, list):
        return as_file(value) is not None
    if not isinstance(value, str):
        return False
    start = value.find(",") + 1 if is_data_url(value.lstrip()) else 0
    return _RUN.match(value, start) is not None or begins_like_picture(value)


def are_read(found: Declared) -> bool:
    """Whether all files of an object are pictures that are found without its declaration."""
    return all(_is_read(payload) for payload in found.payloads if is_file(payload))


def may_show(url: str) -> bool:
    """Whether a data URL of a picture holds one, rather than words about such URLs.

    A drawing in SVG is words, too, unless there could be a picture in it.
    """
    if _SVG.match(url) is None:
        return is_file(url)
    header, _, content = url.partition(",")
    coded = file_bytes(url) or b"" if "base64" in header.lower() else unquote_to_bytes(content)
    text = coded.decode(errors="replace").lower()
    return "base64" in text or (not text.lstrip().startswith("<") and is_file(url))


def without_files(
    block: Fields, cleaned: Fields, found: Declared, picture: bytes, note: str
) -> Fields:
    """The object with something in the place of each of its files; the same one if it has none.

    Args:
        block: as it came.
        cleaned: the same with everything beside the files cleaned.
        found: what it declares.
        picture: stands in the place of a picture.
        note: in the place of another file.
    """
    files = [payload for payload in found.payloads if is_file(payload)]
    shown = picture if found.media == "image" else None

    def put(value: object) -> object:
        if isinstance(value, list):
            return list(shown or b"")
        if shown is None:
            return note
        return data_url(shown) if is_data_url(str(value).lstrip()) else encode(shown)

    return _replaced(block, cleaned, files, put)


def _replaced(
    block: Fields, cleaned: Fields, files: Sequence[object], put: Callable[[object], object]
) -> Fields:
    changed: dict[Any, Any] = {}
    for key, value in block.items():
        if any(value is file for file in files):
            changed[key] = put(value)
        elif key in WRAPPER_KEYS and isinstance(value, Mapping):
            inner = cleaned.get(key)
            if isinstance(inner, Mapping):
                new = _replaced(value, inner, files, put)
                if new is not inner:
                    changed[key] = new
    return {**cleaned, **with_types_beside(cleaned, changed)} if changed else cleaned


def _is_read(value: object) -> bool:
    if not isinstance(value, str):
        return True  # as_file says so
    return any(image.whole and image.complete for image in hidden_images(value))
