"""The types and file names that stand beside a picture, after another one took its place."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from guardalign_middleware.intake.extent import picture_format

_MIME_TYPE = re.compile(r"\s*image/[\w.+-]+\s*", re.IGNORECASE)
_DATA_URL = re.compile(r"\s*data:([^;,]{1,40})[;,]", re.IGNORECASE)
_TYPE_KEY = re.compile(r"mime|type$|format$|^kind$|^ext(ension)?$|suffix$")
_NAME_KEY = re.compile(r"^name$|(file|image|picture)name$")
_SUFFIXES = {
    "jpeg": ("jpeg", "jpg", "jpe", "jfif"),
    "png": ("png", "apng"),
    "webp": ("webp",),
    "gif": ("gif",),
    "bmp": ("bmp", "dib"),
    "tiff": ("tiff", "tif"),
    "avif": ("avif",),
    "heic": ("heic", "heif"),
}
_KINDS = {suffix: kind for kind, names in _SUFFIXES.items() for suffix in names}
_FIRST_CHARACTERS = 64


def file_type(data: bytes | bytearray) -> str:
    """The media type of a picture file, by its first bytes; PNG for any other bytes."""
    found = (picture_format(data) or "PNG").lower()
    return f"image/{'heic' if found == 'heif' else found}"


def type_of_value(value: object) -> str | None:
    """The media type of a field that is a picture: bytes, base64 or a data URL; None for others."""
    if isinstance(value, bytes | bytearray):
        return None if picture_format(value) is None else file_type(value)
    if not isinstance(value, str):
        return None
    if (url := _DATA_URL.match(value)) is not None:
        stated = url.group(1).lower()
        return stated if _MIME_TYPE.fullmatch(stated) else None
    start = "".join(value[: 2 * _FIRST_CHARACTERS].split())[:_FIRST_CHARACTERS]
    try:
        data = base64.b64decode(start.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        return None
    return None if picture_format(data) is None else file_type(data)


def retyped(fields: Mapping[Any, Any], mime_type: str) -> dict[Any, Any]:
    """The fields that state another type than that of the picture beside them, corrected.

    These are media types (`mime_type`, `mimeType`, `content_type`, …), bare formats
    (`"format": "jpeg"`) and the suffixes of file names. A value that is none of these stays.

    Args:
        fields: of a block, a mapping of metadata or an object.
        mime_type: of the picture that the fields are about.
    """
    changed = {}
    for key, value in fields.items():
        if isinstance(key, str) and isinstance(value, str):
            new = _retyped(key.lower().replace("_", "").replace("-", ""), value, mime_type)
            if new != value:
                changed[key] = new
    return changed


def with_types_beside(fields: Mapping[Any, Any], changed: dict[Any, Any]) -> dict[Any, Any]:
    """The changes, and with them the types beside the picture that is one of them.

    Args:
        fields: all fields as they were.
        changed: the fields that have changed; without a picture, they are returned as they are.
    """
    kind = next(filter(None, map(type_of_value, changed.values())), None)
    return changed if kind is None else retyped(fields, kind) | changed


def _retyped(key: str, value: str, mime_type: str) -> str:
    kind = mime_type.partition("/")[2]
    if _TYPE_KEY.search(key):
        if _MIME_TYPE.fullmatch(value):
            return mime_type
        bare = value.lower().removeprefix(".")
        if bare in _KINDS and _KINDS[bare] != kind:
            dot = "." if value.startswith(".") else ""
            return dot + (kind.upper() if value.isupper() else kind)
    if _NAME_KEY.search(key):
        suffix = PurePosixPath(value).suffix
        if _KINDS.get(suffix[1:].lower(), kind) != kind:
            return value.removesuffix(suffix) + f".{'jpg' if kind == 'jpeg' else kind}"
    return value
