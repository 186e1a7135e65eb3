"""Whether a value that no model is shown could hold a picture. Nothing is decoded.

A block without text and without a picture may be dropped from a conversation. These tests decide
whether it has none. In doubt they name a reason, and the block is refused.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import decimal
import enum
import itertools
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.base64_runs import compact_head
from guardalign_middleware.intake.extent import picture_format
from guardalign_middleware.intake.pdf_marks import begins_like_pdf

Depth = Literal["arguments", "known", "prose", "unknown"]
"""How much of a value counts as a trace.

`arguments`: raw pictures only, because a call's arguments are words. `known`: also encoded and
declared pictures, in a block of a known kind. `unknown`: also everything that could lead to a
picture, such as an address, a file's id, or a key that speaks of images. `prose`: as `unknown`, but
texts and numbers are a model's words: a text may speak of pictures, and begin with an address, as
long as it is no picture and not the address of one. It may not begin as one of Gemini's files does.
"""

_MAX_DEPTH = 64
# Beside the pictures that `picture_format` knows.
_OTHER_MAGIC = (
    b"8BPS",
    b"<svg",
    b"\x1aE\xdf\xa3",
    b"\x00\x00\x00\x0cJXL ",
    b"\x00\x00\x00\x0cjP  ",
)
_PLAIN = (
    bool | int | float | None | datetime.date | datetime.time | datetime.timedelta
    | decimal.Decimal | uuid.UUID | np.bool_ | np.number
)  # fmt: skip
_SPACE = re.compile(r"\s")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}")
_DATA_URL = re.compile(r"\s*data:(?!text/plain|audio/)[a-z0-9.+-]*/?[^,\s]{0,200},", re.IGNORECASE)
_MEDIA_URL = re.compile(r"data:(image|video|application)/", re.IGNORECASE)
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]{1,30}://", re.IGNORECASE)
_FILE_ID = re.compile(r"\s*c?file[-_]\w{6,}\s*")
# LiteLLM takes any text that begins so as one of Gemini's files, whatever follows, and fetches it.
_GEMINI_FILE = re.compile(
    r"\s*(?:files/|(?i:https?://generativelanguage\.googleapis\.com/)\S*?files/)"
)
_WEB = re.compile(r"\s*https?:", re.IGNORECASE)
# No picture has fewer characters in base64.
_LEAST_PICTURE = 32
# What stands behind the comma of a data URL, unless that is an ellipsis or a placeholder.
_CONTENT = re.compile(
    rf"[A-Za-z0-9+/=_%~-]{{{_LEAST_PICTURE}}}|(?:<|%3C)(?:svg|[?!])", re.IGNORECASE
)
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/_-]+")
_LINE_ENDS = re.compile(r"(?:[\r\n]|\\+[rn])+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_MEDIA_WORDS = frozenset(
    "image images img picture pictures photo photos screenshot screenshots thumbnail video videos "
    "film frame frames file files media pdf document documents attachment attachments png jpeg jpg "
    "gif webp tiff bmp svg heic avif".split()
)
_SOURCE_WORDS = _MEDIA_WORDS | frozenset(
    "blob base64 b64 bytes pixels url urls uri uris path paths href src".split()
)
_TYPE_KEYS = frozenset(
    {"type", "kind", "format", "block_type", "content_type", "contentType", "mime_type"}
    | {"mimeType", "mimetype", "media_type", "mediaType"}
)
_PICTURE_TYPES = frozenset(
    {"image", "image_url", "input_image", "computer_screenshot", "image_generation_call"}
    | {"video", "video_url", "input_video", "file", "input_file", "media", "container_upload"}
)
# Under keys with these words, a number names a picture.
_REFERENCES = frozenset("id ids ref reference index handle key".split())
# With these keys, requests of embeddings say what their texts stand for.
_INPUT_KEYS = frozenset({"modality", "input_type", "inputType"})
_INPUT_WORDS = frozenset("image images picture pictures photo photos video videos".split())
_WIDE = frozenset({"prose", "unknown"})
_DECLARED = "it or a part of it is declared a picture or a file"
_ORIGINS = (
    *("base64", "blob", "bytes", "data", "file", "file_data", "file_id", "file_uri", "image"),
    *("image_url", "path", "result", "source", "uri", "url", "video", "video_url"),
)


def starts_like_picture(data: bytes) -> bool:
    """Whether a file begins like a picture, a film or a PDF."""
    head = data[:18]
    if picture_format(head) is not None or head.startswith(_OTHER_MAGIC) or head[4:8] == b"ftyp":
        return True
    if (head[:4] == b"RIFF" and head[8:12] == b"AVI ") or begins_like_pdf(data):
        return True
    # 18 bytes are too few for `picture_format` to know a BMP.
    return len(head) == 18 and head[:2] == b"BM" and head[6:10] == bytes(4)


def is_encoded_picture(text: str) -> bool:
    """Whether a whole text is a data URL, or base64 that begins like a picture.

    Data URLs of audio and of plain text do not count.
    """
    return _DATA_URL.match(text.lstrip()[:512]) is not None or _is_base64_of_picture(text)


def picture_trace(
    value: object,
    depth: Depth,
    place: str,
    *,
    arguments: Sequence[str] = (),
    declared: bool = True,
) -> str | None:
    """Say why a value could hold a picture; None if it holds none.

    Args:
        value: any value; a mapping is a block or part of one.
        depth: how much counts as a trace.
        place: where the value is, for errors.
        arguments: keys of the value whose contents are the arguments of a call.
        declared: whether it counts that the value itself is declared a picture.

    Returns:
        A clause with the trace as its subject, as in "its key 'image' could hold a picture".

    Raises:
        MessageError: nesting deeper than 64 levels.
    """
    if isinstance(value, Mapping):
        if declared and depth != "arguments" and _declares_picture(value):
            return _DECLARED
        return _in_items(value, depth, place, 0, arguments)
    return _trace(value, depth, place, 0)


def _trace(value: object, depth: Depth, place: str, level: int) -> str | None:
    if level >= _MAX_DEPTH:
        raise MessageError(
            f"{place} is nested deeper than {_MAX_DEPTH} levels.", remedy="Flatten it."
        )
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return _in_text(value, depth)
    if isinstance(value, _PLAIN):
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        if depth in _WIDE or starts_like_picture(bytes(value)[:18]):
            return "its bytes could be a picture"
        return None
    if isinstance(value, BaseModel):
        value = {**dict(value), **(value.model_extra or {})}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if depth != "arguments" and _declares_picture(value):
            return _DECLARED
        return _in_items(value, depth, place, level)
    if isinstance(value, Sequence | Set):
        return _in_elements(value, depth, place, level)
    return f"its {type(value).__name__} could be a picture"


def _in_items(
    block: Mapping[Any, Any], depth: Depth, place: str, level: int, arguments: Sequence[str] = ()
) -> str | None:
    for key, item in block.items():
        if depth in _WIDE and (reason := _in_field(key, item)):
            return reason
        inner: Depth = "arguments" if key in arguments else depth
        found = _trace(key, inner, place, level) or _trace(item, inner, place, level + 1)
        if found is not None:
            return found
    return None


def _in_elements(
    items: Sequence[Any] | Set[Any], depth: Depth, place: str, level: int
) -> str | None:
    if isinstance(items, Sequence):
        head = list(itertools.islice(items, 18))
        if len(head) >= 8 and all(isinstance(n, int | np.integer) and 0 <= n < 256 for n in head):
            if depth == "unknown" or starts_like_picture(bytes(head)):
                return "its numbers could be the bytes of a picture"
    for item in items:
        if (found := _trace(item, depth, place, level + 1)) is not None:
            return found
    return None


def _in_text(text: str, depth: Depth) -> str | None:
    if depth == "arguments":
        return None
    if depth == "prose":
        return _in_prose(text)
    if is_encoded_picture(text):
        return "a text in it is an encoded picture or file"
    if depth == "unknown":
        if _MEDIA_URL.search(text):
            return "a text in it holds a data URL"
        if _ADDRESS.match(text) or _FILE_ID.match(text) or _GEMINI_FILE.match(text):
            return "an address or a file's id in it could lead to a picture"
    return None


def _in_prose(text: str) -> str | None:
    if _is_base64_of_picture(text) or _is_data(text):
        return "a text in it is an encoded picture or file"
    if _MEDIA_URL.search(text):
        # In pairs, because a header may hold anything but a comma.
        for header, content in itertools.pairwise(text.split(",")):
            head = compact_head(content.lstrip(), _LEAST_PICTURE, skipped=_LINE_ENDS)
            if _CONTENT.match(head) and _MEDIA_URL.search(header):
                return "a text in it holds a data URL"
    if _FILE_ID.fullmatch(text) or _GEMINI_FILE.match(text) or _is_address(text):
        return "an address or a file's id in it could lead to a picture"
    return None


def _is_data(text: str) -> bool:
    """Whether a text is a data URL and nothing else, whatever a lenient decoder skips in it."""
    whole = text.strip()
    if whole[:5].lower() != "data:":
        return False
    if _SPACE.search(whole) is None and _DATA_URL.match(whole):
        return True
    content = _NOT_BASE64.sub("", whole.partition(",")[2])
    return _is_base64_of_picture(content, least=_LEAST_PICTURE)


def _is_address(text: str) -> bool:
    """Whether a text is an address or several, and nothing else, or may be read so."""
    if not _ADDRESS.match(text):
        return False
    # Files in stores, and local ones, may have spaces in their names.
    return not _WEB.match(text) or all(
        _ADDRESS.match(word.group()) for word in re.finditer(r"\S+", text)
    )


def _is_base64_of_picture(text: str, least: int = 16) -> bool:
    """Whether a text begins with so much base64, in which a picture begins."""
    compact = compact_head(text, _LEAST_PICTURE).replace("-", "+").replace("_", "/")
    match = _BASE64.match(compact)
    if match is None or len(match.group()) < least:
        return False
    whole = match.group()[:24]
    try:
        return starts_like_picture(base64.b64decode(whole[: len(whole) // 4 * 4]))
    except (binascii.Error, ValueError):
        return False


def _in_field(key: object, item: object) -> str | None:
    """A field of an unknown block that speaks of pictures or files."""
    if isinstance(item, bool | np.bool_) or not _is_filled(item):
        return None
    if key in _INPUT_KEYS or key in _TYPE_KEYS:
        kinds = _INPUT_WORDS if key in _INPUT_KEYS else _MEDIA_WORDS | {"application"}
        for stated in _texts(item):
            if _words(stated) & kinds:
                return f"its {key} {stated[:40]!r} could stand for a picture"
        if isinstance(item, str):
            return None
    if not isinstance(key, str) or (words := _words(key)).isdisjoint(_SOURCE_WORDS):
        return None
    if isinstance(item, int | float | np.number) and _is_setting(key, words):
        if "pixels" not in words:
            return None
        # Services scale pictures by it, and the guard has looked at another size.
        return f"its key {key[:40]!r} could change the size at which a picture is seen"
    return f"its key {key[:40]!r} could hold a picture"


def _is_setting(key: str, words: Set[str]) -> bool:
    """Whether a number under a key says how many or how large, as in `files` and `num_frames`.

    Under `file` and `image_id`, it may name one.
    """
    if key in _ORIGINS or not words.isdisjoint(_REFERENCES):
        return False
    return len(words) > 1 or key.endswith("s")


def _texts(value: object, level: int = 0) -> Iterator[str]:
    """A text, or the texts in a list, however nested."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Sequence | Set) and level < _MAX_DEPTH:
        for each in value:
            yield from _texts(each, level + 1)


def _words(name: str) -> set[str]:
    words = {word.lower() for word in _WORD.findall(name[:200])}
    return words | {f"{letter}64" for letter in ("base", "b") if f"{letter}64" in name.lower()}


def _declares_picture(block: Mapping[Any, Any]) -> bool:
    image = block.get("image")
    if isinstance(image, Mapping) and isinstance(image.get("source"), Mapping):
        return True
    stated = [block[key] for key in _TYPE_KEYS if isinstance(block.get(key), str)]
    if not any(
        name in _PICTURE_TYPES or name.strip().lower().startswith(("image/", "video/"))
        for name in stated
    ):
        return False
    return any(_is_filled(block.get(key)) for key in _ORIGINS)


def _is_filled(value: object) -> bool:
    # Arrays have no truth value.
    return value is not None and not (isinstance(value, str | Mapping | list) and not value)
