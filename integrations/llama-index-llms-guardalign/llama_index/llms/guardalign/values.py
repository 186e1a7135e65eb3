"""Pictures in values of any kind: metadata, arguments of tools, what stands beside a message.

Containers of every kind are copied with cleaned pictures in them; the caller's stay as they are.
What could hold a picture and cannot be searched is refused.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import io
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MappingView, Set
from typing import Any

from PIL import Image
from pydantic import BaseModel

from guardalign_middleware import notices
from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.containers import (
    BUFFERS,
    PLAIN,
    Opened,
    Unopened,
    as_file,
    opened,
    opened_object,
    same_objects,
    with_items,
    with_members,
)
from guardalign_middleware.intake.extent import picture_format
from llama_index.llms.guardalign.images import Found
from llama_index.llms.guardalign.visitors import Visitor, encoded

Inside = Callable[[Any, object], Any]
"""Walks through a value that stands under a key, and returns it or a copy."""

_MAX_DEPTH = 64
_TENSORS = frozenset({"torch", "tensorflow", "jax", "jaxlib", "cupy", "mlx"})
_NOT_NUMBERS = frozenset("OSUV")
_SIDE = 8  # pixels; nothing can be recognized in less
_PLAIN = (*PLAIN, enum.Enum, datetime.tzinfo)
_LEAST_NUMBERS = 8


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
        mapping: Callable[[Mapping[Any, Any], Inside], Any] | None = None,
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
        self._done: dict[int, tuple[Any, Any]] = {}

    def walk(self, value: Any, key: object = None) -> Any:
        """The value itself, or a copy with cleaned pictures.

        Args:
            value: any value.
            key: the key under which it stands in a mapping.

        Raises:
            MessageError: it cannot be searched, contains itself, or is nested too deeply.
            ImageRejected: an image that the intake policy does not accept.
        """
        if isinstance(value, str) and not isinstance(value, enum.Enum):
            return self._string(value, key)
        if isinstance(value, _PLAIN):
            return value
        if id(value) in self._open or len(self._open) >= _MAX_DEPTH:
            raise MessageError(
                f"{self._place} contains itself, or is nested deeper than {_MAX_DEPTH} levels.",
                remedy="Flatten it.",
            )
        if id(value) in self._done:
            return self._done[id(value)][1]
        self._open.append(id(value))
        try:
            new = self._typed(value, self._place) if self._typed else NotImplemented
            if new is NotImplemented:
                new = self._container(value)
        finally:
            self._open.pop()
        # With the value, so that its id stays its own.
        self._done[id(value)] = (value, new)
        return new

    def _string(self, value: str, key: object) -> Any:
        return self._visitor.words(value) if self._text is None else self._text(value, key)

    def _container(self, value: Any) -> Any:
        if isinstance(value, bytes | bytearray):
            return self._bytes(value)
        if isinstance(value, BUFFERS) and (box := opened(value)) is not None:
            return self._opened(value, box)
        if isinstance(value, Image.Image):
            return self._image(value)
        if isinstance(value, io.IOBase):
            return self._file(value)
        if isinstance(value, Mapping):
            if self._mapping is not None:
                return self._mapping(value, self.walk)
            return walk_items(value, self.walk)
        if isinstance(value, list | tuple | deque | Set | MappingView):
            return self._elements(value)
        shape = _shape(value)
        if shape is not None:
            return self._array(value, shape)
        return self._object(value)

    def _elements(self, value: Any) -> Any:
        items = list(value)
        if (data := as_file(items, _LEAST_NUMBERS)) is not None:
            shown = self._encoded(data)
            return value if shown is None else with_members(value, list(shown))
        new = [self.walk(item) for item in items]
        return value if same_objects(new, items) else with_members(value, new)

    def _bytes(self, value: bytes | bytearray) -> Any:
        shown = self._encoded(bytes(value))
        if shown is None:
            return value
        return shown if isinstance(value, bytes) else type(value)(shown)

    def _file(self, value: Any) -> Any:
        """A file object: of a picture, only the copy without the original is handed on."""
        try:
            at = value.tell()
            value.seek(0)
            data = value.read()
            value.seek(at)
        except (OSError, ValueError, AttributeError) as error:
            raise MessageError(
                f"{self._place} holds a file object that cannot be read.",
                remedy="Pass the bytes of the file.",
            ) from error
        if isinstance(data, str):
            new = self._string(data, None)
            return value if new is data else io.StringIO(str(new))
        shown = self._encoded(data) if isinstance(data, bytes) else None
        return value if shown is None else io.BytesIO(shown)

    def _encoded(self, data: bytes) -> bytes | None:
        """A cleaned picture as a file; None if the bytes do not begin like a picture."""
        if picture_format(data) is None:
            return None
        text = base64.b64encode(data).decode("ascii")
        item = self._visitor.picture(Found(self._place, text))
        if item is None:
            return None
        return notices.UNSAFE.encode() if item.image is None else encoded(item)[0]

    def _image(self, value: Image.Image) -> Any:
        item = self._visitor.picture(Found(self._place, pillow=value))
        if item is None:
            return value
        return notices.UNSAFE if item.image is None else item.image.to_pil()

    def _array(self, value: Any, shape: tuple[int, ...]) -> Any:
        if getattr(getattr(value, "dtype", None), "kind", "") in _NOT_NUMBERS:
            items = value.tolist()
            if self.walk(items) is items:
                return value
        elif len(shape) == 1:
            if as_file(value[:32].tolist(), _LEAST_NUMBERS) is None:
                return value
        elif sum(side >= _SIDE for side in shape) < 2:
            return value
        raise MessageError(
            f"{self._place} holds an array of the shape {shape}, which could be a picture.",
            remedy="Pass a picture as an ImageBlock with the bytes of a PNG or JPEG.",
        )

    def _object(self, value: Any) -> Any:
        # What would be used up by looking stays closed.
        box = None if isinstance(value, Iterator) else opened_object(value)
        if box is not None:
            return self._opened(value, box)
        if self._strict and type(value) is not object and not _is_record(value):
            raise MessageError(
                f"{self._place} holds a {type(value).__name__}, which cannot be searched.",
                remedy="Pass strings, numbers, lists and mappings.",
            )
        return value

    def _opened(self, value: Any, box: Opened) -> Any:
        new = [self.walk(part) for part in box.parts]
        if same_objects(new, box.parts):
            return value
        try:
            return box.rebuild(new)
        except Unopened as error:
            raise MessageError(
                f"{self._place} holds a {type(value).__name__} whose picture cannot be replaced.",
                remedy="Pass the picture as an ImageBlock.",
            ) from error


def walk_items(value: Mapping[Any, Any], walk: Inside) -> Any:
    """A mapping itself, or a copy of the same kind with the keys and values that `walk` returns."""
    new = {walk(key, None): walk(item, key) for key, item in value.items()}
    if _same(new.items(), value.items()):
        return value
    # Where a key has changed, the old one must not stay.
    return with_items(value, new) if new.keys() == value.keys() else new


def same_values(new: Mapping[Any, Any], old: Mapping[Any, Any]) -> bool:
    """Whether both have the same keys, and under each the very same object."""
    return new.keys() == old.keys() and all(new[key] is old[key] for key in new)


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of an array or a tensor of any library; None for everything else."""
    module = type(value).__module__.partition(".")[0]
    if module not in _TENSORS and not hasattr(value, "__array_interface__"):
        return None
    shape = getattr(value, "shape", None)
    try:
        return tuple(int(side) for side in shape) if shape is not None else None
    except TypeError:
        return None


def _is_record(value: Any) -> bool:
    """Whether an object could hold fields, but has none."""
    return (
        isinstance(value, BaseModel)
        or dataclasses.is_dataclass(value)
        or hasattr(value, "__dict__")
        or any("__slots__" in kind.__dict__ for kind in type(value).__mro__[:-1])
    )


def _same(new: Any, old: Any) -> bool:
    return len(new) == len(old) and all(
        a is c and b is d for (a, b), (c, d) in zip(new, old, strict=True)
    )
