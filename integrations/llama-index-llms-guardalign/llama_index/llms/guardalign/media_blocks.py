"""What a document, video or audio block is by its declared type, and whether it is a picture."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from llama_index.core.base.llms.types import AudioBlock, DocumentBlock, VideoBlock

from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.extent import picture_format
from guardalign_middleware.intake.media_types import MediaKind, media_kind
from guardalign_middleware.intake.pdf_marks import REACH
from guardalign_middleware.intake.sound import is_no_sound, may_be_film
from llama_index.llms.guardalign.images import Found, base64_text, in_block

MediaBlock = DocumentBlock | VideoBlock | AudioBlock
_HEAD = REACH


@dataclass(frozen=True)
class Media:
    """The content of a block for files.

    Attributes:
        kind: by the declared type; `image` also if the file begins like a picture, whatever its
            type. Of an audio block, anything but `audio` and `image` is no sound.
        data: the bytes; None if the block only names a path or a URL, or holds nothing.
        found: the picture, if it is one.
        named: the path or the URL that it names instead of bytes.
    """

    kind: MediaKind
    data: bytes | None
    found: Found | None = None
    named: str | None = None


def media_of(block: MediaBlock, place: str) -> Media:
    """Look at a block's declared type and at its first bytes."""
    if (found := in_block(block, place)) is not None:  # A document that is declared an image.
        return Media("image", None, found)
    data, path, url = _data_of(block), block.path, block.url
    named = None if data is not None else str(path) if path is not None else None
    declared: str | None = _declared(block)
    if data is None and url is not None and path is None:
        named = str(url)
        if is_data_url(named):
            data = _in_data_url(named)
            declared, named = type_in_url(named) or declared, None
    kind = _kind(block, declared, named)
    if data is not None and picture_format(data) is not None:
        return Media("image", data, Found(place, base64.b64encode(data).decode("ascii")))
    if kind == "image":
        text = None if data is None else base64.b64encode(data).decode("ascii")
        is_path = data is None and path is not None
        found = Found(place, text, str(path) if is_path else None, None if is_path else named)
        return Media("image", data, found)
    if data is None and path is not None:
        if picture_format(_read(str(path), _HEAD)) is not None:
            return Media("image", None, Found(place, path=str(path)), str(path))
    if kind == "audio" and _is_no_sound(data, path):
        kind = "video"
    return Media(kind, data, None, named)


def type_in_url(url: str) -> str:
    """The type that a data URL states; empty if it states none."""
    return url.lstrip()[5:].split(",", 1)[0].split(";", 1)[0]


def _kind(block: MediaBlock, declared: str | None, named: str | None) -> MediaKind:
    kind = media_kind(declared, named)
    if isinstance(block, DocumentBlock):
        return media_kind(declared, named or block.title)
    if kind == "image":
        return kind
    if isinstance(block, VideoBlock):
        return "video"
    # MP4 and WebM files are named as films also where they are sound: their bytes decide.
    return "pdf" if kind == "pdf" else "audio"


def _declared(block: MediaBlock) -> str | None:
    if isinstance(block, AudioBlock):
        return block.format
    return block.video_mimetype if isinstance(block, VideoBlock) else block.document_mimetype


def _data_of(block: MediaBlock) -> bytes | None:
    names = {AudioBlock: "audio", VideoBlock: "video", DocumentBlock: "data"}
    name = next(name for kind, name in names.items() if isinstance(block, kind))
    value: Any = getattr(block, name)
    text = base64_text(value)
    if not text:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return value if isinstance(value, bytes) else text.encode("utf-8", "surrogatepass")


def _in_data_url(url: str) -> bytes:
    header, _, body = url.partition(",")
    if not header.lower().rstrip().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(unquote_to_bytes(body))
    except (binascii.Error, ValueError):
        return body.encode("utf-8", "surrogatepass")


def _is_no_sound(data: bytes | None, path: object) -> bool:
    """Whether what is declared sound is a film or a PDF."""
    if data is None and path is not None and may_be_film(_read(str(path), _HEAD)):
        data = _read(str(path))
    return data is not None and is_no_sound(data)


def _read(path: str, count: int = -1) -> bytes:
    """The first bytes of a file on this machine, or all of them; empty if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            return file.read(count)
    except (OSError, ValueError):
        return b""
