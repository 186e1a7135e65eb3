"""Pictures in values of any kind: metadata, arguments of tools, what stands beside a message.

Containers of every kind are copied with cleaned pictures in them; the caller's stay as they are.
What could hold a picture and cannot be searched is refused.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import dataclasses
import datetime
import decimal
import enum
import io
import os
import re
import types
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from PIL import Image
from pydantic import BaseModel

from guardalign_middleware import notices
from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.extent import picture_format
from llama_index.llms.guardalign.images import Found
from llama_index.llms.guardalign.visitors import Visitor, encoded

Inside = Callable[[Any, object], Any]
"""Walks through a value that stands under a key, and returns it or a copy."""

_MAX_DEPTH = 64
_TENSORS = frozenset({"torch", "tensorflow", "jax", "jaxlib", "cupy", "mlx"})
_NOT_NUMBERS = frozenset("OSUV")
_SIDE = 8  # pixels; nothing can be recognized in less
_PLAIN = (
    bool, int, float, complex, type(None), enum.Enum, range, slice, re.Pattern, os.PathLike,
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, decimal.Decimal, uuid.UUID,
    type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType,
)  # fmt: skip


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
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(value)
        if isinstance(value, Image.Image):
            return self._image(value)
        if isinstance(value, io.IOBase):
            return self._file(value)
        if isinstance(value, Mapping):
            if self._mapping is not None:
                return self._mapping(value, self.walk)
            return walk_items(value, self.walk)
        if isinstance(value, list | tuple | deque | Set):
            return self._elements(value)
        shape = _shape(value)
        if shape is not None:
            return self._array(value, shape)
        return self._object(value)

    def _elements(self, value: Any) -> Any:
        items = list(value)
        if (data := _bytes_of(items)) is not None:
            shown = self._encoded(data)
            return value if shown is None else _rebuilt(value, list(shown))
        new = [self.walk(item) for item in items]
        return value if _each_same(new, items) else _rebuilt(value, new)

    def _bytes(self, value: bytes | bytearray | memoryview) -> Any:
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
            data = _bytes_of(value[:32].tolist())
            if data is None or picture_format(data) is None:
                return value
        elif sum(side >= _SIDE for side in shape) < 2:
            return value
        raise MessageError(
            f"{self._place} holds an array of the shape {shape}, which could be a picture.",
            remedy="Pass a picture as an ImageBlock with the bytes of a PNG or JPEG.",
        )

    def _object(self, value: Any) -> Any:
        fields = dict(_fields(value))
        if not fields:
            if self._strict and type(value) is not object and not _is_record(value):
                raise MessageError(
                    f"{self._place} holds a {type(value).__name__}, which cannot be searched.",
                    remedy="Pass strings, numbers, lists and mappings.",
                )
            return value
        changed = {
            name: new for name, item in fields.items() if (new := self.walk(item)) is not item
        }
        if not changed:
            return value
        try:
            return _with_fields(value, changed)
        except (AttributeError, TypeError, ValueError) as error:
            raise MessageError(
                f"{self._place} holds a {type(value).__name__} whose picture cannot be replaced.",
                remedy="Pass the picture as an ImageBlock.",
            ) from error


def walk_items(value: Mapping[Any, Any], walk: Inside) -> Any:
    """A mapping itself, or a copy of the same kind with the keys and values that `walk` returns."""
    new = {walk(key, None): walk(item, key) for key, item in value.items()}
    if _same(new.items(), value.items()):
        return value
    if type(value) is dict:
        return new
    try:
        copied: Any = copy.copy(value)
        copied.clear()
        copied.update(new)
    except (AttributeError, TypeError, ValueError):
        return new  # A read-only mapping becomes a dict.
    return copied


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


def _bytes_of(items: Sequence[Any]) -> bytes | None:
    """The bytes that a list of numbers spells; None for other lists."""
    if len(items) < 8 or not all(type(item) is int and 0 <= item < 256 for item in items[:32]):
        return None
    try:
        return bytes(items)
    except (TypeError, ValueError):
        return None


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds, public or not; nothing for what would be used up by looking."""
    if isinstance(value, Iterator):
        return
    if isinstance(value, BaseModel):
        yield from value.__dict__.items()
        yield from (value.__pydantic_extra__ or {}).items()
        yield from (value.__pydantic_private__ or {}).items()
        return
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType) and name != "__dict__":
                with contextlib.suppress(AttributeError):
                    yield name, member.__get__(value)
    if isinstance(value, BaseException):
        yield "args", value.args


def _is_record(value: Any) -> bool:
    """Whether an object could hold fields, but has none."""
    return (
        isinstance(value, BaseModel)
        or dataclasses.is_dataclass(value)
        or hasattr(value, "__dict__")
        or any("__slots__" in kind.__dict__ for kind in type(value).__mro__[:-1])
    )


def _with_fields(value: Any, changed: Mapping[str, Any]) -> Any:
    copied = copy.copy(value)
    if isinstance(value, BaseModel):
        for own in (copied.__dict__, copied.__pydantic_extra__, copied.__pydantic_private__):
            if own is not None:
                own.update({name: new for name, new in changed.items() if name in own})
        return copied
    for name, new in changed.items():
        object.__setattr__(copied, name, new)
    return copied


def _rebuilt(value: Any, items: list[Any]) -> Any:
    """A container of the same kind; where that cannot be made, the nearest plain one."""
    plain: type = next(
        kind for kind in (list, tuple, deque, frozenset, object) if isinstance(value, kind)
    )
    if plain is object:
        plain = set
    try:
        if isinstance(value, deque):
            return deque(items, value.maxlen)
        if hasattr(value, "_make"):
            return value._make(items)
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(items)
        if isinstance(value, list):
            copied = copy.copy(value)
            copied[:] = items
            return copied
    except (TypeError, ValueError, AttributeError):
        pass
    try:
        return plain(items)
    except TypeError:  # What is shown cannot be hashed.
        return items


def _each_same(new: Sequence[Any], old: Sequence[Any]) -> bool:
    return len(new) == len(old) and all(a is b for a, b in zip(new, old, strict=True))


def _same(new: Any, old: Any) -> bool:
    return len(new) == len(old) and all(
        a is c and b is d for (a, b), (c, d) in zip(new, old, strict=True)
    )
