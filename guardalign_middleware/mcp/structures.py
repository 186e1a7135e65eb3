"""Structures in the messages of MCP: objects of a server's own, whose shape a schema may state.

What they are called says little: a listing has a type and a size, and `data` of an image may be its
width. So one is a file only if it holds one, and only the file gives way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guardalign_middleware.intake.containers import as_file
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.declared import WRAPPER_KEYS, Declared
from guardalign_middleware.intake.dialects import data_url, encode
from guardalign_middleware.intake.hidden_images import hidden_images
from guardalign_middleware.intake.type_fields import with_types_beside
from guardalign_middleware.mcp.payloads import LEAST, count_numbers, is_file, payloads_in

Fields = Mapping[Any, Any]

_CONTENT = re.compile(r"(?:result|params)\.(?:content|contents|messages)\b")
# Of a tool, and of a tool's result in a sampling request.
_STRUCTURED = re.compile(
    r"(?:result|params\.messages\[\d+\]\.content(?:\[\d+\])?)\.structuredContent\b"
)


def is_structure(place: str) -> bool:
    """Whether a place is none of content, which a client shows to its model block by block."""
    return _STRUCTURED.match(place) is not None or _CONTENT.match(place) is None


def holds_file(found: Declared) -> bool:
    """Whether something in an object that is declared a file is one."""
    return any(map(is_file, found.payloads))


def are_read(found: Declared) -> bool:
    """Whether all files of an object are pictures that are found without its declaration."""
    return all(_is_read(payload) for payload in found.payloads if is_file(payload))


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
    return _replaced(block, cleaned, files, lambda value, new: _put(value, new, shown, note))


def without_notes(block: Fields, cleaned: Fields, found: Declared, picture: bytes) -> Fields:
    """The cleaned object with a picture instead of each note that stands for one."""
    if found.media != "image":
        return cleaned
    files = [item for item in found.payloads if isinstance(item, str) and is_file(item)]

    def put(value: object, new: object) -> object:
        noted = new is not value and isinstance(new, str) and not is_file(new)
        return _put(value, value, picture, "") if noted else new

    return _replaced(block, cleaned, files, put)


def _put(value: object, new: object, shown: bytes | None, note: str) -> object:
    """What stands in the place of a file, or of the files in a value.

    Args:
        value: as it came.
        new: the same, cleaned.
        shown: a picture; None where a text should stand.
        note: the text.
    """
    if isinstance(new, str):
        if shown is None:
            return note
        return data_url(shown) if is_data_url(str(value).lstrip()) else encode(shown)
    if isinstance(new, list):
        if count_numbers(new) >= LEAST:
            return list(shown or b"")
        put = [_put(item, item, shown, note) if is_file(item) else item for item in new]
        # What is left is a text in pieces.
        return [note if shown is None else encode(shown)] if is_file(put) and put == new else put
    if isinstance(new, Mapping):
        files = [item for item in payloads_in(new) if is_file(item)]
        if not files:
            return {}
        return {
            key: _put(item, item, shown, note) if any(item is each for each in files) else item
            for key, item in new.items()
        }
    return new


def _replaced(
    block: Fields,
    cleaned: Fields,
    files: Sequence[object],
    put: Callable[[object, object], object],
) -> Fields:
    changed: dict[Any, Any] = {}
    for key, value in block.items():
        if any(value is file for file in files):
            new = put(value, cleaned.get(key))
            if new is not cleaned.get(key):
                changed[key] = new
        elif key in WRAPPER_KEYS and isinstance(value, Mapping):
            inner = cleaned.get(key)
            if isinstance(inner, Mapping):
                new = _replaced(value, inner, files, put)
                if new is not inner:
                    changed[key] = new
    return {**cleaned, **with_types_beside(cleaned, changed)} if changed else cleaned


def _is_read(value: object) -> bool:
    if isinstance(value, str):
        return any(image.whole and image.complete for image in hidden_images(value))
    if isinstance(value, list):
        if as_file(value) is not None:
            return True
        files = [item for item in value if is_file(item)]
        return bool(files) and count_numbers(value) < LEAST and all(map(_is_read, files))
    if isinstance(value, Mapping):
        files = [item for item in payloads_in(value) if is_file(item)]
        return bool(files) and all(map(_is_read, files))
    return False
