"""Containers of every kind are opened, and rebuilt in their type with other contents."""

from __future__ import annotations

import array
import collections
import copy
import ctypes
import dataclasses
import enum
import io
import types
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr

from guardalign_middleware.intake.containers import (
    Unopened,
    as_file,
    cells,
    file_in,
    opened,
    opened_object,
    with_items,
    with_members,
)
from guardalign_middleware.testing import picture, png

FILE, OTHER = png(picture(red=True)), png(picture())


class Titled(list[Any]):
    """A list with another constructor."""

    def __init__(self, title: str, *, strict: bool) -> None:
        super().__init__()
        self.title = (title, strict)


class Pair(NamedTuple):
    name: Any
    data: Any


class Point(tuple[Any, ...]):
    """A tuple with attributes."""


class Slotted:
    __slots__ = ("data", "unset")

    def __init__(self, data: Any) -> None:
        self.data = data


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    data: Any


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: Any = "a"
    _data: Any = PrivateAttr(None)

    @cached_property
    def shown(self) -> Any:
        return self.name


def titled(data: Any) -> Titled:
    value = Titled("a", strict=True)
    value.append(data)
    return value


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "list": lambda data: [1, data],
    "tuple": lambda data: (data,),
    "set": lambda data: {data},
    "frozen set": lambda data: frozenset([data]),
    "deque": lambda data: collections.deque([data], maxlen=3),
    "list of another constructor": titled,
    "named tuple": lambda data: Pair("a", data),
    "tuple with attributes": lambda data: Point([data]),
    "user list": lambda data: collections.UserList([data]),
    "slots": Slotted,
    "frozen": Frozen,
    "namespace": lambda data: types.SimpleNamespace(data=data),
    "exception": ValueError,
    "field": lambda data: Loose(name=data),
    "extra field": lambda data: Loose(more=data),
    "array": lambda data: array.array("B", data),
    "view": memoryview,
    "file": io.BytesIO,
}


def changed(parts: Any) -> list[Any]:
    return [OTHER if part == FILE else (OTHER,) if part == (FILE,) else part for part in parts]


@pytest.mark.parametrize("name", HOLDERS)
def test_a_copy_holds_the_other_contents_and_the_original_its_own(name: str) -> None:
    value = HOLDERS[name](FILE)
    box = opened(value)
    assert box is not None
    assert box.can_be_rebuilt()
    assert changed(box.parts) != list(box.parts)
    twin = box.rebuild(changed(box.parts))
    assert type(twin) is type(value)
    again, old = opened(twin), opened(value)
    assert again is not None
    assert old is not None
    assert list(again.parts) == changed(box.parts)
    assert list(old.parts) == list(box.parts)
    assert again.names == box.names


def test_a_model_keeps_its_stores_apart() -> None:
    model = Loose(name=FILE, more=FILE)
    model._data = FILE
    assert model.shown == FILE
    before = copy.deepcopy((model.__dict__, model.model_extra, model._data))
    box = opened(model)
    assert box is not None
    twin = box.rebuild(changed(box.parts))
    assert twin.__dict__ == {"name": OTHER, "shown": OTHER}
    assert twin.model_extra == {"more": OTHER}
    assert (twin.shown, twin._data) == (OTHER, OTHER)
    assert (model.__dict__, model.model_extra, model._data) == before


def test_a_changed_default_is_no_longer_unset() -> None:
    box = opened(Loose())
    assert box is not None
    assert box.rebuild(["b", None]).model_dump(exclude_unset=True) == {"name": "b"}


class Single:
    def __init__(self) -> None:
        self.data = FILE

    def __copy__(self) -> Single:
        return self


class SingleModel(BaseModel):
    data: bytes = FILE

    def __copy__(self) -> SingleModel:
        return self


class Broken(Single):
    def __copy__(self) -> Broken:
        raise RuntimeError("no copies")


@pytest.mark.parametrize("kind", [Single, SingleModel, Broken])
def test_what_cannot_be_copied_is_not_changed_in_place(kind: Callable[[], Any]) -> None:
    value = kind()
    box = opened(value)
    assert box is not None
    assert not box.can_be_rebuilt()
    with pytest.raises(Unopened):
        box.rebuild(changed(box.parts))
    assert value.data == FILE


def test_what_would_be_used_up_stays_closed() -> None:
    items = (item for item in [FILE])
    assert opened(items) is None
    assert next(items) == FILE
    assert opened(object()) is None
    assert opened_object(object()) is None


def test_only_an_object_with_many_attributes_is_left_to_the_caller() -> None:
    many = types.SimpleNamespace(**{f"a{index}": index for index in range(300)})
    assert opened(many) is None
    box = opened_object(many)
    assert box is not None
    assert len(box.parts) == 300


class Shot(enum.Enum):
    ONE = FILE


@pytest.mark.parametrize(
    "value",
    [
        Shot.ONE,
        SecretStr("words"),
        memoryview(FILE),
        (ctypes.c_ubyte * len(FILE)).from_buffer_copy(FILE),
        memoryview(np.zeros((20, 20, 3), np.uint8)),
        io.StringIO("words"),
    ],
)
def test_a_value_in_another_form_has_one_part(value: Any) -> None:
    box = opened(value)
    assert box is not None
    assert box.single
    assert len(box.parts) == 1


def test_a_file_keeps_its_position() -> None:
    file = io.BytesIO(FILE)
    file.seek(7)
    box = opened(file)
    assert box is not None
    assert box.parts == [FILE]
    assert file.tell() == 7


@pytest.mark.parametrize(
    "old",
    [
        {"a": 1, "b": 2},
        collections.OrderedDict(a=1, b=2),
        collections.defaultdict(list, a=1, b=2),
        collections.UserDict(a=1, b=2),
        types.MappingProxyType({"a": 1, "b": 2}),
    ],
)
def test_a_mapping_keeps_its_type_and_its_other_items(old: Any) -> None:
    new = with_items(old, {"a": 3})
    assert type(new) is type(old)
    assert dict(new) == {"a": 3, "b": 2}
    assert dict(old) == {"a": 1, "b": 2}


class SingleList(list[Any]):
    def __copy__(self) -> SingleList:
        return self


class SingleDict(dict[str, Any]):
    def __copy__(self) -> SingleDict:
        return self


def test_a_container_that_is_its_own_copy_becomes_a_plain_one() -> None:
    items, mapping = SingleList([1]), SingleDict(a=1)
    assert type(with_members(items, [2])) is list
    assert type(with_items(mapping, {"a": 2})) is dict
    assert items == [1]
    assert mapping == {"a": 1}


def test_what_cannot_be_hashed_makes_a_set_a_list() -> None:
    assert with_members({1}, [[1]]) == [[1]]
    assert with_members(frozenset([1]), [[1]]) == [[1]]
    assert with_members({"a": 1}.values(), [2]) == [2]


def test_the_numbers_of_a_file_are_its_bytes() -> None:
    assert as_file(list(FILE)) == FILE
    assert as_file(list(FILE[:40])) is None
    assert as_file(list(FILE[:40]), 8) == FILE[:40]
    for numbers in ([], [1] * 64, [*FILE, 256], [*FILE, 0.5], [float(byte) for byte in FILE]):
        assert as_file(numbers) is None


def test_a_vector_may_hold_a_file_in_numbers_of_any_width() -> None:
    for kind in (np.uint8, np.int8, np.uint16, np.int64):
        assert file_in(np.frombuffer(FILE, np.uint8).astype(kind)) == FILE
    assert file_in(np.arange(64)) is None
    assert file_in(np.array([*FILE, 256])) is None
    assert file_in(np.frombuffer(FILE, np.uint8).astype(float)) is None
    assert file_in(np.frombuffer(FILE, np.uint8)[None]) is None


def test_the_cells_of_an_array_of_objects_can_be_changed() -> None:
    value = np.array([[FILE, None]], dtype=object)
    box = cells(value, value)
    new = box.rebuild(changed(box.parts))
    assert new.shape == (1, 2)
    assert new[0, 0] == OTHER
    assert value[0, 0] == FILE
