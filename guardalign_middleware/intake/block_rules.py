"""What becomes of a content block: what it declares decides, whatever else is found inside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.block_kinds import kind_of
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.declared import Declared
from guardalign_middleware.intake.dialects import Block, ImageSlot, read_image
from guardalign_middleware.intake.load import load_frames
from guardalign_middleware.intake.media_types import MediaKind
from guardalign_middleware.intake.other_keys import other_payload
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.walk_modes import Mode

REMEDY = "Give images as base64 or as data URLs; turn pages and frames into images."

_POLICY = IntakePolicy()
_PICTURE_WORDS = re.compile(r"image|picture|photo|screenshot|thumbnail", re.IGNORECASE)
_FILM_WORDS = re.compile(r"video|film|movie|pdf", re.IGNORECASE)
_NUMBERS = re.compile(r"_embeds$", re.IGNORECASE)
_LINK_WORDS = re.compile(r"_ur[il]$", re.IGNORECASE)
_WHAT: Mapping[MediaKind, str] = {
    "pdf": "a PDF",
    "video": "a film",
    "file": "a file of another kind, or one behind an address or an id",
}
_MESSAGE_TYPES = {"ai", "assistant", "developer", "function", "human", "system", "tool", "user"}


@dataclass(frozen=True, eq=False)
class Refusal:
    """Why a block cannot be shown to a model.

    Attributes:
        error: says it in words.
        media: what it is, where a setting may let it pass.
        found: what it declares, if it is a file.
    """

    error: ImageRejected | MessageError
    media: MediaKind | None = None
    found: Declared | None = None


def judge(
    block: Block, found: Declared | None, place: str, mode: Mode
) -> ImageSlot | Refusal | None:
    """What a block is: an image, something that cannot be read, or neither.

    Where no model looks, only a complete picture counts as an image, and nothing is refused.

    Args:
        block: a mapping, wherever it stands.
        found: what it declares.
        place: for errors.
        mode: how strictly it is read.
    """
    if mode == "words":
        return None
    if mode not in {"strict", "block"}:
        return None if found is None else _aside(block, found, place, mode)
    if mode == "strict":
        if _NUMBERS.search(block_type(block) or ""):
            return Refusal(_error(block, place, "could be a picture in numbers"), "file")
        reason = unknown_reason(block) if found is None else None
        reason = reason or other_payload(block, found, place)
        if reason is not None:
            return Refusal(_error(block, place, reason))
    if found is None:
        return None
    if found.empty and mode == "block":
        return None
    if found.media == "image":
        return _image(block, found, place)
    if found.media == "audio" or found.media == "text":
        wrong = found.holds_pages() if found.media == "text" else _sounds_wrong(found)
        reason = f"is declared {found.media} and holds a picture, a film or a PDF"
        return Refusal(_error(block, place, reason)) if wrong else None
    reason = f"is {_WHAT[found.media]}, which can hold pictures that this guard does not read"
    if found.holds_picture():
        return Refusal(_error(block, place, f"{reason}, and holds a picture"))
    return Refusal(_error(block, place, reason), found.media, found)


def unknown_reason(block: Block) -> str | None:
    """Why a block of an unknown kind could hold an image by its name; None if it could not."""
    name = block_type(block)
    if kind_of(name) is not None:
        return None
    if name is not None and _PICTURE_WORDS.search(name):
        return "seems to hold an image and cannot be read"
    if name is not None and _FILM_WORDS.search(name):
        return "seems to hold a film or a PDF, which this guard does not read"
    if name is not None and _LINK_WORDS.search(name):
        return "leads to a file that this guard does not read"
    return None


def is_turn(value: object) -> bool:
    """Whether a mapping is written as a message, such as `{"role": "user", "content": …}`."""
    if not isinstance(value, Mapping) or "content" not in value:
        return False
    return isinstance(value.get("role"), str) or block_type(value) in _MESSAGE_TYPES


def _aside(block: Block, found: Declared, place: str, mode: Mode) -> ImageSlot | None:
    if found.media != "image":
        return None
    try:
        slot = read_image(block, place)
    except (ImageRejected, MessageError):
        return None
    if slot is None:
        return None
    if mode != "quoted":
        return slot if found.holds_picture() else None
    # Of a trace, everything goes that is declared an image and is more than an address.
    link = str(slot.part.get("image_url", {}).get("url", ""))
    return slot if "base64" in slot.part or is_data_url(link) else None


def _image(block: Block, found: Declared, place: str) -> ImageSlot | Refusal | None:
    try:
        slot = read_image(block, place)
    except (ImageRejected, MessageError) as error:
        return Refusal(error, found=found)
    if slot is None and block_type(block) != "image_generation_call":
        return Refusal(_error(block, place, "seems to hold an image and cannot be read"))
    return slot


def _sounds_wrong(found: Declared) -> bool:
    """Whether sound is a film, a PDF or a picture; its bytes can look like the frame of one."""
    if found.holds_film():
        return True
    for data in found.pictures():
        try:
            load_frames(data, _POLICY)
        except ImageRejected as error:
            if error.reason not in {"corrupt", "empty", "unknown_format"}:
                return True
        else:
            return True
    return False


def _error(block: Block, place: str, reason: str) -> MessageError:
    name = block_type(block)
    found = "no type" if name is None else f"the type {name[:64]!r}"
    return MessageError(f"{place} has {found}: it {reason}.", remedy=REMEDY)
