"""Pictures in values of every kind: found and replaced, or refused where a model could see them."""

from __future__ import annotations

import array
import base64
import collections
import ctypes
import dataclasses
import enum
import io
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents.base import Blob
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.types import Command, Send
from PIL import Image
from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr

from guardalign_middleware.intake.arrays import as_array
from guardalign_middleware.intake.found_images import Replacement
from guardalign_middleware.testing import base64_png, data_url, picture, png
from langchain_guardalign.message_walk import find_images, put_images

RAW = picture(red=True)
CLEAN = picture(colour=(0, 255, 0))
PUT = Replacement(file=png(CLEAN))
FILE = png(RAW)
PIXELS = RAW.pixels


class Lines(list[Any]):
    """A list with another constructor."""

    def __init__(self, title: str, *, strict: bool) -> None:
        super().__init__()
        self.title = (title, strict)


class Pair(NamedTuple):
    name: str
    data: Any


class Slots:
    __slots__ = ("data", "unset")

    def __init__(self, data: Any) -> None:
        self.data = data


class Plain:
    def __init__(self, data: Any) -> None:
        self.data = data


@dataclasses.dataclass
class Init:
    data: Any
    seed: dataclasses.InitVar[int]

    def __post_init__(self, seed: int) -> None:
        self.more = seed


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    data: Any


class Private(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    name: str = "a"
    _data: Any = PrivateAttr(None)


class Mapped(collections.abc.Mapping[str, Any]):
    def __init__(self, data: Any) -> None:
        self._data = {"data": data}

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return 1


def lines(data: Any) -> Lines:
    value = Lines("a", strict=True)
    value.append(data)
    return value


def private(data: Any) -> Private:
    value = Private()
    value._data = data
    return value


def circle(data: Any) -> list[Any]:
    value: list[Any] = [data]
    value.append(value)
    return value


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "list": lambda data: [data],
    "tuple": lambda data: (1, data),
    "set": lambda data: {data},
    "frozenset": lambda data: frozenset([data]),
    "deque": lambda data: collections.deque([data], maxlen=3),
    "list subclass": lines,
    "named tuple": lambda data: Pair("a", data),
    "user list": lambda data: collections.UserList([data]),
    "user dict": lambda data: collections.UserDict(data=data),
    "ordered": lambda data: collections.OrderedDict(data=data),
    "default dict": lambda data: collections.defaultdict(list, data=data),
    "chain map": lambda data: collections.ChainMap({"data": data}),
    "proxy": lambda data: types.MappingProxyType({"data": data}),
    "mapping": Mapped,
    "values": lambda data: {"a": data}.values(),
    "slots": Slots,
    "object": Plain,
    "namespace": lambda data: types.SimpleNamespace(data=data),
    "init var": lambda data: Init(data, 1),
    "frozen": Frozen,
    "private attribute": private,
    "command": lambda data: Command(update={"shot": data}, resume=[data]),
    "goto": lambda data: Command(goto=[Send("look", {"shot": data})]),
    "object array": lambda data: np.array([data, None], dtype=object),
}


class Shot(enum.Enum):
    ONE = FILE


BYTES: dict[str, Any] = {
    "bytes": FILE,
    "bytearray": bytearray(FILE),
    "memoryview": memoryview(FILE),
    "bytes io": io.BytesIO(FILE),
    "string io": io.StringIO(base64_png(RAW)),
    "array": array.array("B", FILE),
    "ctypes": (ctypes.c_ubyte * len(FILE)).from_buffer_copy(FILE),
    "numbers": list(FILE),
    "encoded array": np.frombuffer(FILE, dtype=np.uint8),
    "encoded array of wide numbers": np.array(list(FILE)),
    "secret": SecretStr(data_url(RAW)),
    "enum": Shot.ONE,
    "blob": Blob.from_data(FILE, mime_type="image/png"),
    "pillow": RAW.to_pil(),
    "pillow of a file": Image.open(io.BytesIO(FILE)),
}


def tensor(values: Any) -> Any:
    return torch.from_numpy(np.array(values))


ARRAYS: dict[str, Any] = {
    "uint8": PIXELS.copy(),
    "batch": np.stack([PIXELS, PIXELS]),
    "channels first": np.moveaxis(PIXELS, -1, 0),
    "batch of channels first": np.moveaxis(PIXELS, -1, 0)[None],
    "alpha": np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)]),
    "float": PIXELS / 255,
    "float32": (PIXELS / 255).astype(np.float32),
    "float up to 255": PIXELS.astype(np.float16),
    "uint16": PIXELS.astype(np.uint16) * 257,
    "int64": PIXELS.astype(np.int64),
    "normalised": ((PIXELS / 255 - 0.45) / 0.22)[None],
    "tensor": tensor(np.moveaxis(PIXELS, -1, 0) / 255),
    "bfloat16": tensor(PIXELS / 255).to(torch.bfloat16),
    "uint8 tensor": tensor(PIXELS),
}


def raw(value: Any) -> bool:
    """Whether a value still leads to the raw picture; circles are not followed."""
    return any(not found.refused for found in find_images(value) if _is_raw(found.part))


def _is_raw(part: Any) -> bool:
    image = part.get("image")
    if isinstance(image, Image.Image):
        pixels = np.asarray(image.convert("RGB"))
        return bool(
            pixels.shape == PIXELS.shape and (np.abs(pixels - PIXELS.astype(int)) < 4).all()
        )
    data = image if isinstance(image, bytes) else base64.b64decode(part.get("base64", ""))
    return data == FILE


@pytest.mark.parametrize("inner", ["bytes", "text"])
@pytest.mark.parametrize("name", HOLDERS)
def test_every_container_is_searched_and_rebuilt(name: str, inner: str) -> None:
    data = FILE if inner == "bytes" else data_url(RAW)
    value = HOLDERS[name](data)
    for message in (
        ToolMessage("", tool_call_id="1", artifact=value),
        HumanMessage("", additional_kwargs={"seen": value}),
    ):
        found = find_images(message)
        assert found
        assert all(image.refused is None for image in found)
        new = put_images(message, [PUT] * len(found))
        assert not raw(new)
        assert find_images(new)
        assert raw(message)
        assert put_images(message, [Replacement()] * len(found)) is message
    kept = put_images([value], [PUT] * len(find_images([value])))[0]
    if name not in {"chain map", "mapping", "values"}:
        assert type(kept) is type(value)


@pytest.mark.parametrize("name", BYTES)
def test_bytes_in_every_form_are_a_picture(name: str) -> None:
    message = ToolMessage("", tool_call_id="1", artifact={"shot": BYTES[name]})
    found = find_images(message)
    assert len(found) == 1
    new = put_images(message, [PUT])
    assert not raw(new)
    assert len(find_images(new)) == 1
    assert put_images(message, [Replacement()]) is message
    if name not in {"enum", "ctypes", "pillow of a file"}:
        assert isinstance(new.artifact["shot"], type(BYTES[name]))


def test_a_file_keeps_its_position() -> None:
    file = io.BytesIO(FILE)
    file.seek(7)
    find_images([file])
    assert file.tell() == 7


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_a_picture_in_any_type_and_layout(name: str) -> None:
    value = ARRAYS[name]
    found = find_images([value])
    assert len(found) == (2 if name == "batch" else 1)
    assert all(_is_raw(image.part) for image in found)
    (same,) = put_images([value], [Replacement(file=FILE)] * len(found))
    if name != "normalised":
        assert same is value
    (new,) = put_images([value], [PUT] * len(found))
    old_array, new_array = as_array(value), as_array(new)
    assert old_array is not None
    assert new_array is not None
    assert (type(new), new.dtype, new.shape) == (type(value), value.dtype, value.shape)
    assert not any(_is_raw(image.part) for image in find_images([new]))
    assert new_array.min() >= old_array.min() - 1e-6
    assert new_array.max() <= max(old_array.max(), 255 if old_array.max() > 1 else 1)


NUMBERS: dict[str, Any] = {
    "vector": np.linspace(-1, 1, 1536),
    "vectors": np.random.default_rng(1).normal(size=(40, 64)),
    "small": np.zeros((8, 8, 3), np.uint8),
    "scalar": np.float32(1),
    "complex": np.ones((32, 32), complex),
    "text": np.array(["a", "b"]),
    "tensor": torch.randn(3, 7),
    "empty": np.zeros((0, 64, 64, 3), np.uint8),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_stay(name: str) -> None:
    message = ToolMessage("", tool_call_id="1", artifact={"numbers": NUMBERS[name]})
    assert find_images(message) == []
    assert put_images(message, []) is message


def test_what_cannot_be_searched_takes_its_block_along_where_a_model_sees_it() -> None:
    for value in ((n for n in [FILE]), iter([FILE]), object(), NUMBERS["vectors"]):
        block = {"type": "custom", "more": {"shots": [value]}, "id": "b"}
        (found,) = find_images(HumanMessage.model_construct(content=[block], type="human"))
        assert found.refused is not None
        assert found.refused.remedy
        new = put_images([_message([block])], [Replacement(note="gone")])[0]
        assert new.content == [{"type": "text", "text": "gone", "id": "b"}]
        aside = ToolMessage("", tool_call_id="1", artifact=[value])
        assert put_images(aside, []) is aside
    shots = (n for n in [FILE])
    find_images([shots])
    assert next(shots) == FILE


def _message(content: list[Any]) -> Any:
    message = HumanMessage("")
    message.content = content
    return message


def test_a_value_that_contains_itself_is_refused_if_it_holds_an_image() -> None:
    (first, second) = find_images([circle(FILE)])
    assert first.refused is None
    assert second.refused is not None
    assert put_images([circle(FILE)], [PUT, Replacement(note="gone")]) == ["gone"]
    harmless = [circle(1)]
    assert put_images(harmless, []) is harmless


def test_an_object_that_cannot_be_copied_is_refused() -> None:
    class Single:
        def __init__(self) -> None:
            self.data = FILE

        def __copy__(self) -> Single:
            return self

    (first, second) = find_images([Single()])
    assert second.refused is not None
    assert put_images([Single()], [PUT, Replacement(note="gone")]) == ["gone"]


leaves = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.sampled_from([*BYTES.values(), *ARRAYS.values(), *NUMBERS.values()]),
    st.sampled_from([object(), Slots, len, io.StringIO("a"), range(3), b"\xff\xd8\xff", iter([])]),
)
odd_values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "data", "image", "source", "url"]), inner),
        st.tuples(st.sampled_from([Slots, Plain, Frozen, lines, private, circle]), inner).map(
            lambda both: both[0](both[1])
        ),
    ),
    max_leaves=6,
)


@given(odd_values)
def test_any_value_has_an_outcome_in_every_place(value: Any) -> None:
    note = Replacement(note="gone")
    for message in (
        _message([{"type": "custom", "field": value}]),
        _message([value]),
        ToolMessage("", tool_call_id="1", artifact=value),
        HumanMessage("", additional_kwargs={"content": value}),
        Command(update={"shot": value}),
    ):
        found = find_images(message)
        new = put_images(message, [note] * len(found))
        assert not any(image.complete for image in find_images(new))
