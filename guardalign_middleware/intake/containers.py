"""How each kind of container is opened, and rebuilt with other contents.

Nothing is consumed: generators and other iterators stay closed. Rebuilding keeps the type where a
copy can be made without calling the constructor, because subclasses may want other arguments.
"""

from __future__ import annotations

import array
import collections
import copy
import ctypes
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import mmap
import os
import re
import types
import uuid
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MappingView,
    Sequence,
    Set,
)
from dataclasses import dataclass
from operator import is_
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, SecretBytes, SecretStr

from guardalign_middleware.intake.arrays import like
from guardalign_middleware.intake.extent import picture_format
from guardalign_middleware.intake.type_fields import with_types_beside

T = TypeVar("T")

PLAIN = (
    *(int, float, complex, type(None), datetime.date, datetime.time, datetime.timedelta),
    *(decimal.Decimal, fractions.Fraction, uuid.UUID, os.PathLike, re.Pattern, range, slice),
    *(type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType),
    type(Ellipsis),
)
"""Values without a picture and without parts."""
BUFFERS = (array.array, ctypes.Array, mmap.mmap, memoryview)
"""Types that hold bytes in another form."""
_MAX_ATTRIBUTES = 200
_LEAST_FILE = 44
_MAX_WORDS = 2**24


class Unopened(Exception):
    """A value whose parts cannot be replaced."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A container's contents.

    Attributes:
        parts: what is inside, in order.
        names: of the parts, if they are attributes; otherwise they have numbers.
        rebuild: makes a copy of the container with other parts, in the same order.
        single: whether the one part is the value itself in another form.
        unknown: whether it is an object of an unknown class.
    """

    parts: Sequence[Any]
    rebuild: Callable[[Sequence[Any]], Any]
    names: Sequence[str] | None = None
    single: bool = False
    unknown: bool = False

    def can_be_rebuilt(self) -> bool:
        """Whether a copy can be made; only objects may refuse it."""
        if self.names is None:
            return True
        try:
            self.rebuild(self.parts)
        except Unopened:
            return False
        return True


def opened(value: Any) -> Opened | None:
    """Open a container; None if it has no parts that can be looked at without using it up."""
    if isinstance(value, BaseModel):
        return opened_object(value)
    if isinstance(value, enum.Enum):
        return _one(value.value, lambda new: new)
    if isinstance(value, SecretStr | SecretBytes):
        return _one(value.get_secret_value(), type(value))
    if isinstance(value, BUFFERS):
        return _buffer(value)
    if isinstance(value, io.IOBase) or hasattr(type(value), "seekable"):
        return _file(value)
    if isinstance(value, Sequence | Set | MappingView | collections.deque):
        members: Any = value
        return Opened(list(members), lambda new: with_members(members, new))
    if isinstance(value, Iterator | AsyncIterator | Awaitable):
        return None
    box = opened_object(value)
    return box if box is not None and len(box.parts) <= _MAX_ATTRIBUTES else None


def opened_object(value: Any) -> Opened | None:
    """Open a model or an object by its fields, public or not; None for an object without any."""
    if isinstance(value, BaseModel):
        return _model(value)
    stored = _attributes(value)
    if not stored:
        return None

    def rebuild(new: Sequence[Any]) -> Any:
        twin = _twin(value, copy.copy)
        try:
            # The unchanged ones too: whether it can be rebuilt is asked with the old parts.
            for name, item in zip(stored, new, strict=True):
                object.__setattr__(twin, name, item)
        except MemoryError:
            raise
        except Exception as error:
            raise Unopened from error
        return twin

    unknown = not dataclasses.is_dataclass(value)
    return Opened([*stored.values()], rebuild, [*stored], unknown=unknown)


def cells(value: Any, array: NDArray[Any]) -> Opened:
    """The values in an array, or in a table, that are no numbers."""
    flat = list(array.flat)

    def rebuild(new: Sequence[Any]) -> Any:
        changed = array.astype(object)
        for index, item in enumerate(new):
            changed.flat[index] = item
        return like(value, changed)

    return Opened(flat, rebuild)


def as_file(numbers: Sequence[Any], least: int = _LEAST_FILE) -> bytes | None:
    """The bytes of a picture that is written as a list of at least so many numbers."""
    if len(numbers) < least or type(numbers[0]) is not int:
        return None
    try:
        if picture_format(bytes(numbers[:32])) is None:
            return None
        return bytes(numbers)
    except (TypeError, ValueError):
        return None


def file_in(array: NDArray[Any]) -> bytes | None:
    """The bytes that a vector of numbers could be; None for every other array.

    Wider numbers than bytes are only taken for the file of a picture.
    """
    if array.ndim != 1:
        return None
    if array.dtype.itemsize == 1:
        return array.tobytes()
    if array.dtype.kind not in "iu" or as_file(array[:_LEAST_FILE].tolist()) is None:
        return None
    return as_file(array.tolist())


def retyped_attributes(box: Opened, walked: list[Any]) -> list[Any]:
    """The attributes of an object, with the type of a replaced picture beside it."""
    fields = dict(zip(box.names or (), box.parts, strict=True))
    changed = {
        name: new for (name, old), new in zip(fields.items(), walked, strict=True) if new is not old
    }
    typed = {**fields, **with_types_beside(fields, changed)}
    return [typed[name] for name in fields]


def with_items(old: Mapping[Any, Any], changed: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A copy of a mapping with some values changed; a dict where its own type cannot be copied."""
    if type(old) is dict:
        return {**old, **changed}
    if isinstance(old, types.MappingProxyType):
        return types.MappingProxyType({**old, **changed})
    # The copy of another mapping may share its contents.
    if isinstance(old, dict | collections.UserDict):
        try:
            new = _twin(old, copy.copy)
            new.update(changed)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001
            return {**old, **changed}
        if all(new.get(key) is item for key, item in changed.items()):
            return new
    return {**old, **changed}


def with_members(items: Any, new: Sequence[Any]) -> Any:
    """Items in a container of the same type, or in the plain one that is nearest to it."""
    kind = type(items)
    if kind in {list, tuple}:
        return kind(new)
    if isinstance(items, tuple) and hasattr(kind, "_make"):
        return kind._make(new)
    if isinstance(items, collections.deque):
        return collections.deque(new, items.maxlen)
    if isinstance(items, MappingView | np.ndarray):
        return list(new)
    plain: Callable[[Iterable[Any]], Any] = list
    for base in (tuple, frozenset, set):
        if isinstance(items, base):
            plain = base
    try:
        if isinstance(items, list):
            twin = _twin(items, copy.copy)
            twin[:] = new
        elif isinstance(items, tuple):
            twin = tuple.__new__(kind, new)
            vars(twin).update(vars(items)) if hasattr(items, "__dict__") else None
        else:
            twin = kind(new)
        if type(twin) is kind and (isinstance(items, Set) or same_objects(twin, new)):
            return twin
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001
        pass
    try:
        return plain(new)
    except TypeError:  # What cannot be hashed is no member of a set.
        return list(new)


def same_objects(new: Sequence[Any], old: Sequence[Any]) -> bool:
    """Whether both hold the very same objects, in the same order."""
    return len(new) == len(old) and all(map(is_, new, old))


def _one(part: Any, rebuild: Callable[[Any], Any]) -> Opened:
    return Opened([part], lambda parts: rebuild(parts[0]), single=True)


def _as_bytes(data: Any) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)


def _model(model: BaseModel) -> Opened:
    fields = {**model.__dict__, **(model.model_extra or {})}
    private = dict(getattr(model, "__pydantic_private__", None) or {})

    def rebuild(new: Sequence[Any]) -> BaseModel:
        twin = _twin(model, lambda model: model.model_copy())
        pairs = zip([*fields, *private], [*fields.values(), *private.values()], new, strict=True)
        changed = {name: item for name, old, item in pairs if item is not old}
        for store in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
            own = getattr(twin, store, None) or {}
            update = {name: changed[name] for name in own if name in changed}
            if update:
                object.__setattr__(twin, store, {**own, **update})
        known = twin.model_fields_set | (changed.keys() & type(model).model_fields.keys())
        object.__setattr__(twin, "__pydantic_fields_set__", known)
        return twin

    return Opened([*fields.values(), *private.values()], rebuild, [*fields, *private])


def _twin(value: T, copied: Callable[[T], T]) -> T:
    """A copy that is another object of the same type."""
    try:
        twin = copied(value)
    except MemoryError:
        raise
    except Exception as error:
        raise Unopened from error
    if twin is value or type(twin) is not type(value):
        raise Unopened
    return twin


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes that an object stores itself; no property is called."""
    stored: dict[str, Any] = {}
    for cls in type(value).__mro__:
        for name, member in vars(cls).items():
            if isinstance(member, types.MemberDescriptorType) and name != "__dict__":
                try:
                    stored[name] = member.__get__(value)
                except AttributeError:
                    continue
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict):
        stored.update(own)
    if isinstance(value, BaseException):
        stored["args"] = value.args
    return stored


def _buffer(value: Any) -> Opened | None:
    """A buffer's bytes; a multidimensional view is opened as an array."""
    try:
        view = memoryview(value)
        if view.ndim > 1:
            return _one(np.asarray(view), memoryview)
        data = view.tobytes()
    except (TypeError, ValueError, BufferError, NotImplementedError):
        return None

    def rebuild(new: Any) -> Any:
        fresh = _as_bytes(new)
        if isinstance(value, array.array):
            return array.array(value.typecode, fresh + bytes(-len(fresh) % value.itemsize))
        return memoryview(fresh) if isinstance(value, memoryview) else fresh

    return _one(data, rebuild)


def _file(file: Any) -> Opened | None:
    """A file that can be read again; None for a stream, and for a large file without a picture."""
    try:
        if file.closed or not (file.seekable() and file.readable()):
            return None
        at = file.tell()
        try:
            file.seek(0)
            head = file.read(_MAX_WORDS)
            picture = isinstance(head, bytes) and picture_format(head) is not None
            data = head + file.read() if picture or len(head) < _MAX_WORDS else None
        finally:
            file.seek(at)
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    if isinstance(data, str):
        return _one(data, io.StringIO)
    if isinstance(data, bytes):
        return _one(data, lambda new: io.BytesIO(_as_bytes(new)))
    return None
