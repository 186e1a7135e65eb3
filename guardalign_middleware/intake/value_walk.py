"""The walk over a value of mappings and lists: its content blocks, containers and objects.

Every value inside is looked at, whatever its key. `walk_modes.py` says how strictly,
`block_rules.py` what a block is, `containers.py` how a container is opened, and `image_values.py`
reads the pictures that are values by themselves. What a message is, and how a notice is written, a
subclass says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from PIL import Image
from pydantic_core import MultiHostUrl, Url

from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.arrays import (
    as_array,
    as_numbers,
    could_be_picture,
    like,
    pictures_in,
)
from guardalign_middleware.intake.block_rules import Refusal, judge
from guardalign_middleware.intake.containers import (
    PLAIN,
    Opened,
    as_file,
    cells,
    file_in,
    opened,
    retyped_attributes,
    with_items,
)
from guardalign_middleware.intake.declared import WRAPPER_KEYS, Declared, declared
from guardalign_middleware.intake.dialects import ImageSlot, note_block
from guardalign_middleware.intake.found_images import FoundImage, Replacement, listing
from guardalign_middleware.intake.hidden_images import hidden_images
from guardalign_middleware.intake.image_values import ImageValues
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.type_fields import with_types_beside
from guardalign_middleware.intake.walk_modes import Mode, attribute_mode, field_modes

_MAX_DEPTH = 64
_MAX_OBJECTS = 1000
_LEAVES = (str, bytes, bytearray, bool, int, float, type(None))
_PLAIN = (*PLAIN, Url, MultiHostUrl, np.generic, np.dtype)  # their text is read by itself
_PLAIN_CONTAINERS = {dict, list, tuple}
_NUMBERS = {bool, int, float, complex, type(None)}
_SHOWN: tuple[Mode, ...] = ("strict", "block")


class Walk(ImageValues):
    """One pass over a value; for its arguments, see `ImageValues`."""

    def __init__(
        self, visit: Callable[[FoundImage], Replacement], heard: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(visit, heard)
        self._objects = 0
        self._path: set[int] = set()
        self._cycles: set[int] = set()
        # The blocks around that a model sees, and what in them cannot be searched.
        self._blocks = 0
        self._closed: list[MessageError] = []

    def value(self, value: Any, place: str, mode: Mode) -> Any:
        """A copy of the value with the replacements; the same object if nothing changes."""
        if isinstance(value, _LEAVES):
            return self._leaf(value, place, mode)
        if type(value) in _PLAIN_CONTAINERS and not value:
            return value  # as most fields of most messages are
        if id(value) in self._path:
            self._cycles.add(id(value))
            return value
        if len(self._path) >= _MAX_DEPTH:
            deep = f"{place} is nested deeper than {_MAX_DEPTH} levels."
            return self._withheld(MessageError(deep, remedy="Flatten it."), value, place, mode)
        visits = self._visits
        self._path.add(id(value))
        try:
            new = self._dispatch(value, place, mode)
        finally:
            self._path.discard(id(value))
        if id(value) in self._cycles:
            self._cycles.discard(id(value))
            if self._visits > visits:
                # A copy would still lead to the original.
                circle = f"{place} contains itself and an image."
                note = self._refuse(MessageError(circle, remedy="Keep the image apart."), place)
                return new if note is None else note
        return new

    def _leaf(self, value: Any, place: str, mode: Mode) -> Any:
        if isinstance(value, str):
            return self._text(value, place, mode)
        return self._bytes(value, place, mode) if isinstance(value, bytes | bytearray) else value

    def _dispatch(self, value: Any, place: str, mode: Mode) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value, place, mode)
        if isinstance(value, Image.Image):
            return self._picture(value, place)
        if isinstance(value, _PLAIN):
            return value
        array = as_array(value)
        if array is not None and array.dtype.kind not in "OSU":
            return self._array(value, array, place, mode)
        box = opened(value) if array is None else cells(value, array)
        if box is not None and box.unknown:
            self._objects += 1
        if box is None or self._objects > _MAX_OBJECTS:
            closed = f"{place} holds a {type(value).__name__}, which cannot be searched for images."
            error = MessageError(closed, remedy="Pass text, images, lists and mappings.")
            return self._withheld(error, value, place, mode) if mode in _SHOWN else value
        return self._opened(value, box, place, mode)

    @contextmanager
    def _in_turn(self, index: int) -> Iterator[None]:
        """While a message is walked that is no part of another one."""
        self._turn = index
        self.turns += 1
        try:
            yield
        finally:
            self._turn = None

    def _is_message(self, value: Any) -> bool:
        """Whether an item of a list is a turn of a conversation."""
        return False

    def _noted(self, note: str, block: Mapping[Any, Any], place: str) -> Any:
        """What stands in the place of a block that may not be shown."""
        return note_block(note, block)

    def _instead(
        self, note: str, block: Mapping[Any, Any], cleaned: Mapping[Any, Any], place: str
    ) -> Any:
        """What stands in the place of a refused block, of which everything else was cleaned."""
        return self._noted(note, block, place)

    def _unshown(self, note: str, slot: ImageSlot, block: Mapping[Any, Any], place: str) -> Any:
        """What stands in the place of an image block whose picture may not be shown."""
        return self._noted(note, block, place)

    def _declared(self, block: Mapping[Any, Any], place: str, mode: Mode) -> Declared | None:
        return declared(block)

    def _judged(
        self, block: Mapping[Any, Any], found: Declared | None, place: str, mode: Mode
    ) -> ImageSlot | Refusal | None:
        return judge(block, found, place, mode)

    def _opened(self, value: Any, box: Opened, place: str, mode: Mode) -> Any:
        if isinstance(value, list | tuple) and (data := as_file(value)) is not None:
            cleaned = self._bytes(data, place, mode)
            return value if cleaned is data else box.rebuild(list(cleaned))
        visits = self._visits
        walked: list[Any] = []
        for index, part in enumerate(box.parts):
            if type(part) in _NUMBERS:
                walked.append(part)
            elif box.names is not None:
                name = box.names[index]
                inner = attribute_mode(name, part, mode)
                walked.append(self.value(part, f"{place}.{name}", inner))
            else:
                spot = place if box.single else f"{place}[{index}]"
                turn = self._turn is None and self._is_message(part)
                with self._in_turn(index) if turn else nullcontext():
                    walked.append(self.value(part, spot, mode))
        if self._visits > visits and not box.can_be_rebuilt():
            fixed = f"{place} is a {type(value).__name__} with an image, which cannot be copied."
            note = self._refuse(MessageError(fixed, remedy="Pass the image apart."), place)
            return value if note is None else note
        if all(new is old for new, old in zip(walked, box.parts, strict=True)):
            return value
        if box.names is not None:
            walked = retyped_attributes(box, walked)
        elif not box.single:
            walked = [
                item for new in walked for item in (new if isinstance(new, _Blocks) else [new])
            ]
        return box.rebuild(walked)

    def _array(self, value: Any, array: Any, place: str, mode: Mode) -> Any:
        if (data := file_in(array)) is not None:
            cleaned = self._bytes(data, place, mode)
            return value if cleaned is data else like(value, as_numbers(cleaned, array))
        found = pictures_in(array)
        if found is not None:
            return self._arrayed(value, found, place, mode in _SHOWN)
        if mode not in _SHOWN or not could_be_picture(array):
            return value
        numbers = f"{place} holds an array of shape {array.shape}, which could be a picture."
        error = MessageError(numbers, remedy="Pass pictures as uint8 arrays [height, width, 3].")
        return self._withheld(error, value, place, mode)

    def _mapping(self, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        found = None if mode == "words" else self._declared(block, place, mode)
        verdict = self._judged(block, found, place, mode)
        hidden = self._in_key(block, found, place)
        if isinstance(verdict, ImageSlot) and mode != "quoted":
            verdict = hidden or self._beside(verdict, found, place, mode)
        if isinstance(verdict, ImageSlot):
            return self._image(verdict, block, place, mode)
        noted, closed = self._notes, len(self._closed)
        shown = mode == "strict" or (mode == "block" and verdict is not None)
        self._blocks += shown
        changed = self._fields(block, found, place, mode)
        self._blocks -= shown
        verdict = verdict or hidden
        if shown and len(self._closed) > closed:
            verdict = verdict or Refusal(self._closed[closed])
            del self._closed[closed:]
        if isinstance(verdict, Refusal):
            return self._refused(verdict, block, changed, place)
        if not changed:
            return block
        if block_type(block) == "non_standard" and _is_instead(changed.get("value")):
            return changed["value"]
        new = with_items(block, changed)
        # A model would take words in an image's field for a broken image.
        if shown and self._notes > noted and judge(new, declared(new), place, mode) is not None:
            if not self._holds_image(list(new.values()), place):
                return self._noted(self._note, new, place)
        return with_items(block, with_types_beside(block, changed))

    def _fields(
        self, block: Mapping[Any, Any], found: Declared | None, place: str, mode: Mode
    ) -> dict[Any, Any]:
        """The values of a block that change."""
        mode_of = field_modes(block, found, mode)
        changed = {}
        for key, item in block.items():
            if type(item) in _NUMBERS:
                continue
            spot, inner = f"{place}.{key}", mode_of(key, item)
            if found is not None and key in WRAPPER_KEYS and self._may_enter(item):
                # Says more about the same file, which is judged already.
                self._path.add(id(item))
                more = self._fields(item, found, spot, inner)
                self._path.discard(id(item))
                new = {**item, **more} if more else item
            else:
                new = self.value(item, spot, inner)
            if new is not item:
                changed[key] = new
        return changed

    def _may_enter(self, item: object) -> bool:
        """Whether a wrapper is neither too deep nor around itself, which `value` refuses."""
        return type(item) is dict and id(item) not in self._path and len(self._path) < _MAX_DEPTH

    def _refused(
        self, refusal: Refusal, block: Mapping[Any, Any], changed: Mapping[Any, Any], place: str
    ) -> Any:
        """A block that cannot be read: its note, or the block with its images cleaned."""
        part = {} if refusal.found is None else refusal.found.part()
        found = FoundImage(part, place, True, complete=False, refused=refusal.error)
        new = self._replace(dataclasses.replace(found, media=refusal.media, block=block))
        if new.blocks is not None:
            return _Blocks(new.blocks)
        cleaned = with_items(block, changed) if changed else block
        return cleaned if new.note is None else self._instead(new.note, block, cleaned, place)

    def _withheld(self, error: MessageError, value: Any, place: str, mode: Mode) -> Any:
        """What cannot be searched: it takes the block around it along, if a model sees that."""
        if mode in _SHOWN and self._blocks:
            self._closed.append(error)
            return value
        note = self._refuse(error, place)
        return value if note is None else note

    def _refuse(self, error: MessageError, place: str) -> str | None:
        """Hand over what cannot be read; its note, or None if it stays."""
        return self._replace(FoundImage({}, place, True, complete=False, refused=error)).note

    def _beside(
        self, slot: ImageSlot, found: Declared | None, place: str, mode: Mode
    ) -> ImageSlot | Refusal | None:
        """The image of a block, or, if there is more in it, why the block cannot be shown.

        None where no model looks: each of its images is then read as a value by itself.
        """
        others: list[FoundImage] = []
        inner: Mode = "block" if mode in _SHOWN else mode
        type(self)(listing(others))._fields(slot.rest, found, place, inner)
        if not any(image.complete or image.refused is not None for image in others):
            return slot
        if mode not in _SHOWN:
            return None
        refused = next((image.refused for image in others if image.refused is not None), None)
        if refused is not None:
            return Refusal(refused)
        two = f"{place} holds two images, but a model would see only one of them."
        return Refusal(MessageError(two, remedy="Give each image its own block."))

    def _image(self, slot: ImageSlot, block: Mapping[Any, Any], place: str, mode: Mode) -> Any:
        new = self._replace(FoundImage(slot.part, place, mode != "quoted"))
        if new.file is None:
            return block if new.note is None else self._unshown(new.note, slot, block, place)
        put = slot.put(new.file)
        return block if put == block else put

    def _holds_image(self, value: object, place: str) -> bool:
        found: list[FoundImage] = []
        type(self)(listing(found)).value(value, place, "loose")
        return any(image.complete for image in found)

    def _in_key(
        self, block: Mapping[Any, Any], found: Declared | None, place: str
    ) -> Refusal | None:
        """Why a mapping cannot be read of which a key is a picture, as is one of its file."""
        if not any(map(self._hides_picture, _keys(block, found))):
            return None
        hidden = f"{place} has an image in a key."
        return Refusal(MessageError(hidden, remedy="Put it into a value."))

    def _hides_picture(self, key: object) -> bool:
        """Whether a key of a mapping is or holds a picture."""
        if isinstance(key, str):
            return any(image.complete for image in hidden_images(key))
        return not isinstance(key, PLAIN) and self._holds_image(key, "key")


class _Blocks(list[Any]):
    """Several blocks in the place of one."""


def _keys(block: Mapping[Any, Any], found: Declared | None) -> Iterator[object]:
    """The keys of a block, and of the mappings in it that say more about its file."""
    layers, seen = [block], set[int]()
    while layers:
        layer = layers.pop()
        seen.add(id(layer))
        yield from layer
        if found is not None:
            inner = (layer.get(key) for key in WRAPPER_KEYS)
            layers += [each for each in inner if type(each) is dict and id(each) not in seen]


def _is_instead(value: object) -> bool:
    """Whether something stands in the place of a block: a note, or several blocks."""
    note = isinstance(value, Mapping) and block_type(value) == "text"
    return note or isinstance(value, _Blocks)
