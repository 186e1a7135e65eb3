"""Pictures in values of any kind: metadata, arguments of tools, what stands beside a message.

Containers of every kind are copied with cleaned pictures in them; the caller's stay as they are.
What could hold a picture and cannot be searched is refused.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel
from pydantic_core import MultiHostUrl, Url

from guardalign_middleware import notices
from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.arrays import (
    as_array,
    as_numbers,
    could_be_picture,
    like,
    pictures_in,
)
from guardalign_middleware.intake.containers import (
    PLAIN,
    Opened,
    Unopened,
    as_file,
    cells,
    file_in,
    opened,
    opened_object,
    same_objects,
    with_items,
)
from guardalign_middleware.intake.extent import picture_format
from guardalign_middleware.intake.walk_modes import Mode
from guardalign_middleware.sanitize import SanitizedImage
from llama_index.llms.guardalign.images import Found
from llama_index.llms.guardalign.visitors import Visitor, encoded

Inside = Callable[[Any, object, Mode | None], Any]
"""Walks through a value that stands under a key, in a mode or in that around it."""

_MAX_DEPTH = 64
SHOWN: tuple[Mode, ...] = ("strict", "block")
"""The modes of content, and of the fields of its blocks."""
_PLAIN = (*PLAIN, datetime.tzinfo, np.number, np.bool_, np.datetime64)


class ValueWalk:
    """Walks through a value of any kind.

    Args:
        visitor: reads or shows the pictures.
        place: where the value is, for errors.
        text: walks through a string; None: as words.
        mapping: walks through a mapping instead of this walk, which it may call for the parts.
        typed: walks through LlamaIndex's own objects; returns NotImplemented for all others.
        strict: whether objects that cannot be searched are refused.
    """

    def __init__(
        self,
        visitor: Visitor,
        place: str,
        *,
        text: Callable[[str, object], Any] | None = None,
        mapping: Callable[[Mapping[Any, Any], Inside, Mode], Any] | None = None,
        typed: Callable[[Any, str], Any] | None = None,
        strict: bool = False,
    ) -> None:
        self._visitor = visitor
        self._place = place
        self._text = text
        self._mapping = mapping
        self._typed = typed
        self._strict = strict
        self._open: list[int] = []
        self._done: dict[tuple[int, Mode], tuple[Any, Any]] = {}
        self._mode: Mode = "loose"

    def walk(self, value: Any, key: object = None, mode: Mode | None = None) -> Any:
        """The value itself, or a copy with cleaned pictures.

        Args:
            value: any value.
            key: the key under which it stands in a mapping.
            mode: how it is read; None: as what is around it.

        Raises:
            MessageError: it cannot be searched, contains itself, or is nested too deeply.
            ImageRejected: an image that the intake policy does not accept.
        """
        if isinstance(value, str):
            return self._string(value, key)
        if isinstance(value, _PLAIN):
            return value
        if id(value) in self._open or len(self._open) >= _MAX_DEPTH:
            raise MessageError(
                f"{self._place} contains itself, or is nested deeper than {_MAX_DEPTH} levels.",
                remedy="Flatten it.",
            )
        outer, self._mode = self._mode, mode or self._mode
        self._open.append(id(value))
        try:
            return self._once(value)
        finally:
            self._open.pop()
            self._mode = outer

    def _once(self, value: Any) -> Any:
        seen = id(value), self._mode
        if seen not in self._done:
            new = self._typed(value, self._place) if self._typed else NotImplemented
            if new is NotImplemented:
                new = self._container(value)
            # With the value, so that its id stays its own.
            self._done[seen] = value, new
        return self._done[seen][1]

    def _string(self, value: str, key: object) -> Any:
        return self._visitor.words(value) if self._text is None else self._text(value, key)

    def _container(self, value: Any) -> Any:
        if isinstance(value, bytes | bytearray):
            return self._bytes(value)
        if isinstance(value, Image.Image):
            return self._image(value)
        if isinstance(value, Mapping):
            if self._mapping is not None:
                return self._mapping(value, self.walk, self._mode)
            return walk_items(value, self.walk)
        if isinstance(value, Url | MultiHostUrl):
            return value if self._string(text := str(value), None) is text else notices.UNSAFE
        array = np.asarray(value) if isinstance(value, np.void) else as_array(value)
        if array is None:
            return self._object(value)
        if array.dtype.kind in "OSU":
            return self._opened(value, cells(value, array))
        return self._array(value, array)

    def _bytes(self, data: bytes | bytearray) -> Any:
        """Bytes: of a picture, of a text, or of anything else."""
        if picture_format(data) is None:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                return data
            new = self._string(text, None)
            return data if new is text else _same_kind(data, str(new).encode())
        item = self._visitor.picture(Found(self._place, base64.b64encode(data).decode("ascii")))
        if item is None:
            return data
        file = notices.UNSAFE.encode() if item.image is None else encoded(item)[0]
        return _same_kind(data, file)

    def _image(self, value: Image.Image) -> Any:
        item = self._visitor.picture(Found(self._place, pillow=value))
        if item is None:
            return value
        return _pillow(item) or notices.UNSAFE

    def _array(self, value: Any, array: NDArray[Any]) -> Any:
        if (data := file_in(array)) is not None:
            new = self._bytes(data)
            return value if new is data else like(value, as_numbers(new, array))
        if array.dtype.kind == "V" and self.walk(fields := array.tolist()) is not fields:
            raise self._unreplaced(value)
        found = pictures_in(array)
        if found is None:
            if self._mode in SHOWN and could_be_picture(array):
                raise self._unread(array.shape)
            return value
        sure = found.sure or self._mode in SHOWN
        pictures = list(found.pictures())
        items = [self._visitor.picture(self._pixels(each, sure)) for each in pictures]
        if all(item is None for item in items):
            return value
        cleaned = [
            each if item is None else _pillow(item)
            for each, item in zip(pictures, items, strict=True)
        ]
        if all(each is None for each in cleaned):
            return notices.UNSAFE
        changed = found.put(cleaned)
        return value if changed is array else like(value, changed)

    def _pixels(self, picture: Image.Image, sure: bool) -> Found:
        digest = hashlib.sha256(picture.tobytes()).hexdigest()
        return Found(self._place, pillow=picture, digest=digest, sure=sure)

    def _object(self, value: Any) -> Any:
        box = opened(value)
        stream = box is None and _is_stream(value)
        # What would be used up by looking stays closed, but not what its class stores.
        if box is None and (hasattr(value, "__dict__") or not isinstance(value, Iterator)):
            box = opened_object(value)
        if box is None and _is_closed_array(value):
            raise self._unread(value.shape)
        if self._strict and (stream or (box is None and not _is_empty(value))):
            raise MessageError(
                f"{self._place} holds a {type(value).__name__}, which cannot be searched.",
                remedy="Pass strings, numbers, lists and mappings.",
            )
        return value if box is None else self._opened(value, box)

    def _opened(self, value: Any, box: Opened) -> Any:
        if isinstance(value, Sequence) and not box.single and (data := as_file(box.parts)):
            new = self._bytes(data)
            return value if new is data else box.rebuild(list(new))
        parts = [self.walk(part) for part in box.parts]
        if same_objects(parts, box.parts):
            return value
        try:
            return box.rebuild(parts)
        except Unopened as error:
            raise self._unreplaced(value) from error

    def _unread(self, shape: Iterable[int]) -> MessageError:
        return MessageError(
            f"{self._place} holds an array of the shape {tuple(shape)}, which could be a picture.",
            remedy="Pass pictures as ImageBlocks, or as uint8 arrays [height, width, 3].",
        )

    def _unreplaced(self, value: Any) -> MessageError:
        return MessageError(
            f"{self._place} holds a {type(value).__name__} whose picture cannot be replaced.",
            remedy="Pass the picture as an ImageBlock.",
        )


def walk_items(value: Mapping[Any, Any], walk: Inside) -> Any:
    """A mapping itself, or a copy of the same kind with the keys and values that `walk` returns."""
    new = {walk(key, None, None): walk(item, key, None) for key, item in value.items()}
    if _same(new.items(), value.items()):
        return value
    # Where a key has changed, the old one must not stay.
    return with_items(value, new) if new.keys() == value.keys() else new


def same_values(new: Mapping[Any, Any], old: Mapping[Any, Any]) -> bool:
    """Whether both have the same keys, and under each the very same object."""
    return new.keys() == old.keys() and all(new[key] is old[key] for key in new)


def _same_kind(old: bytes | bytearray, new: bytes) -> bytes | bytearray:
    return bytearray(new) if isinstance(old, bytearray) else new


def _pillow(item: SanitizedImage) -> Image.Image | None:
    """The cleaned picture; None if it may not be shown."""
    return None if item.image is None else item.image.to_pil()


def _is_stream(value: Any) -> bool:
    """Whether an open file may still be read, though not from its start."""
    try:
        return not value.closed and bool(value.readable())
    except (AttributeError, TypeError, ValueError, OSError):
        return False


def _is_closed_array(value: Any) -> bool:
    """Whether an array that NumPy cannot be given has the sides of a picture."""
    try:
        return could_be_picture(np.broadcast_to(np.uint8(0), tuple(value.shape)))
    except (AttributeError, TypeError, ValueError):
        return False


def _is_empty(value: Any) -> bool:
    """Whether an object could hold fields, but has none."""
    return type(value) is object or (
        isinstance(value, BaseModel)
        or dataclasses.is_dataclass(value)
        or hasattr(value, "__dict__")
        or any("__slots__" in kind.__dict__ for kind in type(value).__mro__[:-1])
    )


def _same(new: Any, old: Any) -> bool:
    return len(new) == len(old) and all(
        a is c and b is d for (a, b), (c, d) in zip(new, old, strict=True)
    )
