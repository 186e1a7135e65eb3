"""Find every image in a LangChain value, and return a copy with replacements in their place.

Nothing is loaded, decoded or scanned here. `find_images` and `put_images` walk in the same order,
so the n-th replacement belongs to the n-th image found. Values without images are returned as the
same object.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from langchain_core.messages import BaseMessage
from PIL import Image
from pydantic import BaseModel

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.extent import picture_format, picture_size
from guardalign_middleware.intake.hidden_images import (
    HiddenImage,
    hidden_images,
    may_hide_image,
    replace_hidden,
)
from guardalign_middleware.intake.type_fields import with_types_beside
from langchain_guardalign.dialects import (
    ImageSlot,
    Part,
    data_url,
    names_an_image,
    note_block,
    open_file,
    read_image,
    unreadable,
    unreadable_error,
)
from langchain_guardalign.found_images import FoundImage, Replacement
from langchain_guardalign.verdict_metadata import with_records
from langchain_guardalign.walk_modes import CONTENT_KEYS, Mode, mode_under, modes_inside

_MAX_DEPTH = 64
_LEAVES = (str, bytes, bytearray, bool, int, float, type(None))

Value = TypeVar("Value")


def find_images(value: object, place: str = "messages") -> list[FoundImage]:
    """Find every image in a message, a list of messages, or plain containers.

    What cannot be read is found too, with `refused`: an image without bytes, such as a file id; a
    content block that could hold an image; a block with two images; an image in a key; nesting
    deeper than 64 levels. Images inside it come before it.

    Args:
        value: messages are searched in content, artifact, additional_kwargs and all other fields.
        place: the name of the value in errors.
    """
    return walk_images(value, place)[0]


def walk_images(value: Value, place: str = "messages") -> tuple[list[FoundImage], Value]:
    """What `find_images` finds, and the value without records that the guard has not written.

    Arguments and errors are those of `find_images`.
    """
    found: list[FoundImage] = []

    def visit(image: FoundImage) -> Replacement:
        found.append(image)
        return Replacement()

    rest: Value = _Walk(visit).value(value, place, "loose")
    return found, rest


def put_images(value: Value, replacements: Sequence[Replacement], place: str = "messages") -> Value:
    """Copy the value with one replacement for each image that `find_images` finds.

    The records of a message's images are in its `response_metadata["guardalign"]["verdicts"]`.

    Raises:
        ValueError: more or fewer replacements than images.
    """
    rest = iter(replacements)

    def visit(_: FoundImage) -> Replacement:
        replacement = next(rest, None)
        if replacement is None:
            raise ValueError(f"There are more images than the {len(replacements)} replacements.")
        return replacement

    copy: Value = _Walk(visit).value(value, place, "loose")
    if next(rest, None) is not None:
        raise ValueError(f"There are fewer images than the {len(replacements)} replacements.")
    return copy


def note_images(value: Value, note: str) -> Value:
    """Copy plain values with a text in place of every image; URLs and file ids stay.

    Raises:
        MessageError: a block with two images, an image in a key, or nesting deeper than 64 levels.
    """

    def visit(image: FoundImage) -> Replacement:
        if image.refused is not None:
            raise image.refused
        return Replacement(note=note)

    copy: Value = _Walk(visit).value(value, "value", "quoted")
    return copy


class _Walk:
    """One pass over a value; `visit` returns the replacement for each image."""

    def __init__(self, visit: Callable[[FoundImage], Replacement]) -> None:
        self._visit = visit
        self._records: list[Mapping[str, Any]] = []
        self._count = self._notes = 0
        self._note = ""
        self._depth = 0
        self._turn: int | None = None

    def value(self, value: Any, place: str, mode: Mode) -> Any:
        if self._depth >= _MAX_DEPTH and not isinstance(value, _LEAVES):
            deep = f"{place} is nested deeper than {_MAX_DEPTH} levels."
            note = self._refuse(MessageError(deep, remedy="Flatten it."), place)
            return value if note is None else note
        self._depth += 1
        try:
            return self._dispatch(value, place, mode)
        finally:
            self._depth -= 1

    def _dispatch(self, value: Any, place: str, mode: Mode) -> Any:
        if isinstance(value, str):
            return self._text(value, place, mode)
        if isinstance(value, BaseMessage):
            return self._message(value, place)
        if isinstance(value, Mapping):
            return self._mapping(value, place, mode)
        if isinstance(value, list | tuple):
            return self._items(value, place, mode)
        if isinstance(value, bytes | bytearray):
            return self._bytes(value, place, mode)
        if isinstance(value, Image.Image):
            return self._picture(value, value, place, open_file)
        if isinstance(value, np.ndarray):
            return self._array(value, place)
        if isinstance(value, BaseModel):
            fields = {**value.__dict__, **(value.model_extra or {})}
            changed = with_types_beside(fields, self._changed(fields, place, mode))
            return value.model_copy(update=changed) if changed else value
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
            below: Mode = "words" if mode == "words" else "loose"
            changed = with_types_beside(fields, self._changed(fields, place, below))
            return dataclasses.replace(value, **changed) if changed else value
        return value

    def _message(self, message: BaseMessage, place: str) -> BaseMessage:
        if self._turn is None:
            only: BaseMessage = self._turn_of(message, place, 0)
            return only
        first = len(self._records)
        fields = {**message.__dict__, **(message.model_extra or {})}
        content = fields.pop("content")
        changed = self._changed({"content": content}, place, "strict")
        changed |= self._changed(fields, place, "loose")
        changed |= with_records({**fields, **changed}, self._records[first:])
        return message.model_copy(update=changed) if changed else message

    def _changed(self, fields: Mapping[str, Any], place: str, mode: Mode) -> dict[str, Any]:
        walked = {
            key: self.value(item, f"{place}.{key}", mode_under(key, item, mode))
            for key, item in fields.items()
        }
        return {key: item for key, item in walked.items() if item is not fields[key]}

    def _turn_of(self, item: Any, place: str, index: int) -> Any:
        """Walk a message that is no part of another one."""
        self._turn = index
        try:
            return self.value(item, place, "loose")
        finally:
            self._turn = None

    def _items(self, items: Any, place: str, mode: Mode) -> Any:
        walked = []
        for index, item in enumerate(items):
            turn = self._turn is None and isinstance(item, BaseMessage)
            spot = f"{place}[{index}]"
            walked.append(
                self._turn_of(item, spot, index) if turn else self.value(item, spot, mode)
            )
        if all(new is old for new, old in zip(walked, items, strict=True)):
            return items
        if hasattr(items, "_fields"):
            return type(items)(*walked)
        return type(items)(walked)

    def _mapping(self, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        try:
            slot = _slot(block, place, mode)
            if slot is not None:
                return self._declared(slot, block, place, mode)
        except (ImageRejected, MessageError) as error:
            return self._refused(error, block, self._fields(block, place, mode), place)
        before, noted = self._count, self._notes
        changed = self._fields(block, place, mode)
        if any(isinstance(key, str) and _hides_picture(key) for key in block):
            hidden = MessageError(f"{place} has an image in a key.", remedy="Put it into a value.")
            return self._refused(hidden, block, changed, place)
        if mode == "strict" and self._count == before:
            reason = unreadable_error(block, place)
            if reason is not None:
                return self._refused(reason, block, changed, place)
        if not changed:
            return block
        if block.get("type") == "non_standard" and _is_note(changed.get("value")):
            return changed["value"]
        new = {**block, **changed}
        # A model would take words in an image's field for a broken image.
        if mode == "strict" and self._notes > noted and unreadable(new):
            if not _holds_image(list(new.values()), place):
                return note_block(self._note, new)
        return {**block, **with_types_beside(block, changed)}

    def _fields(self, block: Mapping[Any, Any], place: str, mode: Mode) -> dict[Any, Any]:
        """The values of a block that change."""
        inner, outer = modes_inside(block, mode)
        changed = {}
        for key, item in block.items():
            below = inner if key in CONTENT_KEYS else outer
            new = self.value(item, f"{place}.{key}", mode_under(key, item, below))
            if new is not item:
                changed[key] = new
        return changed

    def _refused(
        self,
        error: ImageRejected | MessageError,
        block: Mapping[Any, Any],
        changed: Mapping[Any, Any],
        place: str,
    ) -> Any:
        """A block that cannot be read: its note, or the block with its images cleaned."""
        note = self._refuse(error, place)
        if note is not None:
            return note_block(note, block)
        return {**block, **changed} if changed else block

    def _refuse(self, error: ImageRejected | MessageError, place: str) -> str | None:
        """Hand over what cannot be read; its note, or None if it stays."""
        return self._replace(FoundImage({}, place, True, complete=False, refused=error)).note

    def _declared(self, slot: ImageSlot, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        if _holds_image(list(slot.rest.values()), place):
            raise MessageError(
                f"{place} holds two images, but a model would see only one of them.",
                remedy="Give each image its own block.",
            )
        new = self._replace(FoundImage(slot.part, place, mode != "quoted"))
        if new.file is not None:
            put = slot.put(new.file)
            return block if put == block else put
        return block if new.note is None else note_block(new.note, block)

    def _text(self, text: str, place: str, mode: Mode) -> str:
        """Clean the complete pictures in a text; all other characters stay."""
        if mode == "block" and text[:11].lower() == "data:image/":
            if not any(image.whole for image in hidden_images(text)):
                return self._address(text, place)
        if not may_hide_image(text):
            return text

        def put(image: HiddenImage) -> bytes | str | None:
            # Under a key of its own, in a block or an artifact, a picture is more than words.
            words = mode in {"strict", "words"} or not image.whole
            part: Part = {"type": "image", "image": image.data}
            shown = mode == "block" and not words
            new = self._replace(FoundImage(part, place, False, words, image.complete, shown))
            return new.note if new.file is None else new.file

        return replace_hidden(text, put)

    def _address(self, url: str, place: str) -> str:
        """A data URL as a field of a block, whatever is in it."""
        part: Part = {"type": "image_url", "image_url": {"url": url}}
        new = self._replace(FoundImage(part, place, False, shown=True))
        return (new.note or url) if new.file is None else data_url(new.file)

    def _bytes(self, data: bytes | bytearray, place: str, mode: Mode) -> bytes | bytearray:
        if picture_format(data) is not None:
            picture = bytes(data)
            complete = picture_size(picture) is not None
            part: Part = {"type": "image", "image": picture}
            words, shown = mode == "words", mode == "block"
            new = self._replace(FoundImage(part, place, False, words, complete, shown))
            if new.file is not None:
                return data if data == new.file else type(data)(new.file)
            return data if new.note is None else type(data)(new.note.encode())
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return data
        walked = self._text(text, place, mode)
        return data if walked is text else type(data)(walked.encode())

    def _array(self, array: Any, place: str) -> Any:
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in {3, 4}:
            return array
        picture = Image.fromarray(array)
        return self._picture(picture, array, place, lambda file: np.asarray(open_file(file)))

    def _picture(
        self, picture: Image.Image, value: Any, place: str, put: Callable[[bytes], Any]
    ) -> Any:
        new = self._replace(FoundImage({"type": "image", "image": picture}, place, True))
        if new.file is not None:
            return put(new.file)
        return value if new.note is None else new.note

    def _replace(self, found: FoundImage) -> Replacement:
        self._count += found.complete
        new = self._visit(dataclasses.replace(found, turn=self._turn))
        if new.file is None and new.note is not None:
            self._notes += 1
            self._note = new.note
        if new.record:
            self._records.append(new.record)
        return new


def _is_note(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "text"


def _holds_image(value: object, place: str) -> bool:
    return any(image.complete for image in find_images(value, place))


def _hides_picture(text: str) -> bool:
    return any(image.complete for image in hidden_images(text))


def _slot(block: Mapping[Any, Any], place: str, mode: Mode) -> ImageSlot | None:
    if mode == "words" or (mode != "strict" and not names_an_image(block)):
        return None
    try:
        slot = read_image(block, place)
    except (ImageRejected, MessageError):
        if mode != "quoted":
            raise
        return None  # In a trace, a URL or a file id is only words.
    if slot is None or mode != "quoted":
        return slot
    link = str(slot.part.get("image_url", {}).get("url", ""))
    return slot if "base64" in slot.part or is_data_url(link) else None
