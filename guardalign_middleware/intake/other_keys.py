"""Pictures and files under keys that a block of this type does not have.

Some services go by the keys of a block: vLLM does where it has no type or a `uuid`, whatever its
type says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from guardalign_middleware.intake.arrays import as_array
from guardalign_middleware.intake.block_kinds import kind_of
from guardalign_middleware.intake.containers import BUFFERS, opened
from guardalign_middleware.intake.declared import Block, Declared, file_bytes
from guardalign_middleware.intake.extent import picture_size
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.picture_traces import picture_trace

_FORM = r"(?:_?(?:url|uri|data|base64|b64|bytes|file|pil)s?)?"
_PICTURE = re.compile(rf"(?:image|picture|photo)s?{_FORM}|\w*_embeds", re.IGNORECASE)
_FILM = re.compile(rf"videos?{_FORM}", re.IGNORECASE)
_FILE = re.compile(rf"files?{_FORM}|documents?_?ur[il]s?", re.IGNORECASE)
_FILE_ID = re.compile(r"file_?ids?", re.IGNORECASE)
# `read_image` reads these, and takes two of them for two pictures.
_READ = {"image", "image_url"}
_LAYERS = 8


def other_payload(block: Block, found: Declared | None, place: str) -> str | None:
    """Why a block could hold a picture beside what its type says; None if it could not.

    A complete picture under such a key is no reason: the walk cleans it.

    Args:
        block: a block that a model is shown.
        found: what it declares.
        place: for errors.
    """
    kind = kind_of(block_type(block))
    is_text = found is None and kind is not None and kind.fate == "text"
    is_file = found is not None and found.media in {"file", "pdf", "video"}
    is_image = found is not None and found.media == "image"
    for key, value in block.items():
        if not isinstance(key, str) or (is_image and key in _READ):
            continue
        if _PICTURE.fullmatch(key) or (_FILM.fullmatch(key) and not is_file):
            # With its `uuid`, vLLM shows a picture that it has seen, and needs no value.
            open_value = value is None or isinstance(value, Mapping)
            if not is_read(value) or (open_value and block.get("uuid") is not None):
                return "seems to hold an image and cannot be read"
        elif is_text and (_FILE.fullmatch(key) or _FILE_ID.fullmatch(key)):
            numbered = _FILE_ID.fullmatch(key) and _is_number(value) and value is not False
            if _may_hold_file(value) or numbered:
                return "is a text with a file beside it"
        elif found is None and _FILE.fullmatch(key) and _may_hold_file(value):
            # Elsewhere it may be a name.
            if picture_trace(value, "unknown", place) is not None:
                return "seems to hold a file that this guard does not read"
    return None


def is_read(value: Any, left: int = _LAYERS) -> bool:
    """Whether a value is nothing, or a picture that the walk finds and cleans."""
    if isinstance(value, str | bytes | bytearray):
        return not value or picture_size(file_bytes(value) or b"") is not None
    if isinstance(value, list | tuple):
        # A list may hold itself, and numbers in it may be a file or an encoded picture.
        return left > 0 and all(
            item is False or (not _is_number(item) and is_read(item, left - 1)) for item in value
        )
    if not _may_hold_file(value) or isinstance(value, Image.Image | np.ndarray):
        return True
    if isinstance(value, BUFFERS) or hasattr(type(value), "seekable"):
        box = opened(value)
        return box is not None and left > 0 and is_read(box.parts[0], left - 1)
    return as_array(value) is not None


def _may_hold_file(value: Any, left: int = _LAYERS) -> bool:
    """Whether a value could be or name a file; a number tells about one."""
    if isinstance(value, Mapping):
        return left == 0 or any(_may_hold_file(item, left - 1) for item in value.values())
    if isinstance(value, str | bytes | bytearray | list | tuple):
        return len(value) > 0
    return value is not None and not _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.number | np.bool_)
