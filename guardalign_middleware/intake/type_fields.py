"""The types and file names that stand beside a picture, after another one took its place."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from guardalign_middleware.intake.base64_runs import compact_head
from guardalign_middleware.intake.extent import picture_format

# SVG is text: whatever states it is about no picture that was replaced.
_MIME_TYPE = re.compile(r"\s*image/(?!svg)[\w.+-]+\s*", re.IGNORECASE)
_DATA_URL = re.compile(r"\s*data:[^,]{0,300},", re.IGNORECASE)
_TYPE_KEY = re.compile(r"mime|type$|format$|^kind$|^ext(ension)?$|suffix$")
_NAME_KEY = re.compile(r"^name$|(file|image|picture)name$")
_STATING = re.compile(
    r"(?:media|content)?(?:mime)?type$|mime$|format$|kind$|ext(?:ension)?$|suffix$|name$"
)
_FILE_KEYS = frozenset(
    "audio base64 blob bytes data document file file_data image result video".split()
)
_COULD_BE_FILE = re.compile(r"\s*(?:data:|[A-Za-z0-9+/_-]{12})", re.IGNORECASE)
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
_LONGEST_HEADER = 310


def file_type(data: bytes | bytearray) -> str:
    """The media type of a picture file, by its first bytes; PNG for any other bytes."""
    found = (picture_format(data) or "PNG").lower()
    return f"image/{'heic' if found == 'heif' else found}"


def type_of_value(value: object) -> str | None:
    """The media type of a field that is a picture: bytes, base64 or a data URL; None for others.

    Whatever a data URL states, its first bytes decide.
    """
    if isinstance(value, bytes | bytearray):
        return None if picture_format(value) is None else file_type(value)
    if not isinstance(value, str):
        return None
    value = value.lstrip()
    url = _DATA_URL.match(value[:_LONGEST_HEADER])
    head = compact_head(value, 3 * _FIRST_CHARACTERS, 0 if url is None else url.end())
    start = "".join((unquote(head) if "%" in head else head).split())[:_FIRST_CHARACTERS]
    start = start[: len(start) // 4 * 4]
    try:
        data = base64.b64decode(start.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        return None
    return None if picture_format(data) is None else file_type(data)


def retyped(
    fields: Mapping[Any, Any], mime_type: str, of: Collection[Any] | None = None
) -> dict[Any, Any]:
    """The fields that state another type than that of the picture beside them, corrected.

    These are media types (`mime_type`, `mimeType`, `content_type`, …), bare formats
    (`"format": "jpeg"`) and the suffixes of file names. A value that is none of these stays.

    Args:
        fields: of a block, a mapping of metadata or an object.
        mime_type: of the picture that the fields are about.
        of: the keys under which the picture stands; fields about another file stay. None = all
            fields are about the picture.
    """
    changed = {}
    for key, value in fields.items():
        if isinstance(key, str) and isinstance(value, str):
            new = _retyped(_plain(key), value, mime_type)
            if new != value and (of is None or _is_about(key, fields, of)):
                changed[key] = new
    return changed


def with_types_beside(fields: Mapping[Any, Any], changed: dict[Any, Any]) -> dict[Any, Any]:
    """The changes, and with them the types beside each picture that is one of them.

    Args:
        fields: all fields as they were.
        changed: the fields that have changed; without a picture, they are returned as they are.
    """
    typed: dict[Any, Any] = {}
    for key, new in changed.items():
        if (kind := type_of_value(new)) is not None:
            typed = retyped(fields, kind, (key,)) | typed
    return typed | changed if typed else changed


def _is_about(key: str, fields: Mapping[Any, Any], of: Collection[Any]) -> bool:
    """Whether a field that states a type or a name is about the picture under these keys.

    `image_mime_type` is about `image`. Other types are about the file of the fields, if there is
    one, and otherwise about any picture among them.
    """
    about = _STATING.sub("", _plain(key), count=1)
    if about:
        named = [name for name in fields if name != key and _is_named(name, about)]
        if named:
            return any(name in of for name in named)
    files = [name for name in _FILE_KEYS if _could_be_file(fields.get(name))]
    return not files or any(name in of for name in files)


def _is_named(name: object, about: str) -> bool:
    return (
        isinstance(name, str)
        and _plain(name).startswith(about)
        and _STATING.search(_plain(name)) is None
    )


def _could_be_file(value: object) -> bool:
    if isinstance(value, str):
        return _COULD_BE_FILE.match(value) is not None
    return value is not None and not isinstance(value, Mapping)


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


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
