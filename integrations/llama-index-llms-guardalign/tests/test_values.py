"""Values of any kind beside a message, in metadata and in calls, by the core's rules."""

from __future__ import annotations

import base64
import enum
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import MediaResource, TextNode
from pydantic import AnyUrl, SecretBytes

from guardalign_middleware import notices
from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.arrays import as_array, pictures_in
from guardalign_middleware.testing import data_url, has_red, png
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignNodePostprocessor
from llama_index_support.conversations import BLOCKED, GUARD, SAFE, UNSAFE
from llama_index_support.doubles import PlainLLM

RAW = png(UNSAFE)
PIXELS = UNSAFE.pixels


class Shot(enum.Enum):
    FILE = RAW
    BLOCK = {"type": "image", "data": RAW}  # noqa: RUF012


class Named(str, enum.Enum):  # noqa: UP042
    URL = data_url(UNSAFE)


class Stream:
    """A file of another library."""

    closed = False

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def seekable(self) -> bool:
        return True


class Rows(Iterator[bytes]):
    def __init__(self, rows: list[bytes]) -> None:
        self.rows = rows

    def __next__(self) -> bytes:
        raise StopIteration


def spooled() -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(RAW)
    return file


ARRAYS: dict[str, Any] = {
    "uint8": PIXELS,
    "float": PIXELS / 255,
    "batch": np.stack([PIXELS, SAFE.pixels]),
    "channels first": np.moveaxis(PIXELS, -1, 0).astype(np.float32)[None],
    "tensor": torch.from_numpy(np.array(PIXELS)),
    "view": memoryview(np.ascontiguousarray(PIXELS).data),
}
FILES: dict[str, Any] = {
    "enum": Shot.FILE,
    "enum of a block": Shot.BLOCK,
    "enum of a text": Named.URL,
    "secret": SecretBytes(RAW),
    "bytes of base64": base64.b64encode(RAW),
    "resource": MediaResource(data=RAW, mimetype="image/png"),
    "stream": Stream(RAW),
    "spooled": spooled(),
    "bytes as numbers": np.frombuffer(RAW, np.uint8),
    "wide numbers": np.array(list(RAW)),
    "objects": np.array([RAW, None], dtype=object),
    "iterator with rows": Rows([RAW]),
}


def in_metadata(value: Any) -> Any:
    """What is left of a value in a node's metadata."""
    node = TextNode(text="a")
    node.metadata = {"x": value}
    (clean,) = GuardAlignNodePostprocessor(guard=GUARD).clean([node])
    assert clean is not None
    assert node.metadata["x"] is value
    return clean.metadata["x"]


def beside(value: Any) -> Any:
    """What is left of a value in `additional_kwargs`."""
    inner = PlainLLM()
    message = ChatMessage(role="user", content="Look.")
    message.additional_kwargs["x"] = value
    GuardAlignGuardedLLM(llm=inner, guard=GUARD).chat([message])
    return inner.calls[0][0].additional_kwargs["x"]


def in_call(value: Any) -> Any:
    """What is left of a value in a call's arguments."""
    inner = PlainLLM()
    call = ToolCallBlock(tool_name="look", tool_kwargs={"x": value})
    message = ChatMessage(role="assistant", blocks=[call])
    GuardAlignGuardedLLM(llm=inner, guard=GUARD).chat([message, ChatMessage("Go on.")])
    return inner.calls[0][0].blocks[0].tool_kwargs["x"]


PLACES = [in_metadata, beside, in_call]


def shows_red(value: Any) -> bool:
    array = as_array(np.asarray(value) if isinstance(value, memoryview) else value)
    found = None if array is None else pictures_in(array)
    assert found is not None
    return any(has_red(GUARD.load(picture)) for picture in found.pictures())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ARRAYS)
def test_a_picture_in_an_array_is_cleaned(place: Any, name: str) -> None:
    value = ARRAYS[name]
    assert shows_red(value)
    new = place(value)
    assert type(new) is type(value)
    assert new.shape == value.shape
    assert not shows_red(new)
    assert shows_red(value)


def test_a_blocked_picture_in_an_array_becomes_the_notice_or_black() -> None:
    assert in_metadata(BLOCKED.pixels) == notices.UNSAFE
    black, shown = in_metadata(np.stack([BLOCKED.pixels, SAFE.pixels]))
    assert not black.any()
    assert np.array_equal(shown, SAFE.pixels)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FILES)
def test_the_file_of_a_picture_is_cleaned_in_every_form(place: Any, name: str) -> None:
    new = place(FILES[name])
    seen = repr([new, *held(new)])
    assert repr(RAW[40:80])[2:-1] not in seen
    assert base64.b64encode(RAW).decode()[40:120] not in seen


def held(value: Any) -> list[Any]:
    if isinstance(value, enum.Enum):
        return [value.value]
    if isinstance(value, SecretBytes):
        return [value.get_secret_value()]
    if isinstance(value, io.BytesIO):
        return [value.getvalue()]
    if isinstance(value, np.ndarray) and value.dtype != object:
        return [value.astype(np.uint8).tobytes()]
    return [getattr(value, "data", None), getattr(value, "rows", None)]


class Level(enum.Enum):
    HIGH = 3
    WORDS = "high"


HARMLESS: dict[str, Any] = {
    "matrix": np.random.default_rng(0).normal(size=(20, 20)),
    "vector": np.linspace(-1, 1, 1536, dtype=np.float32),
    "mask": np.ones((20, 20), bool),
    "picture": SAFE.pixels,
    "long matrix": np.random.default_rng(0).random((16, 4000)),
    "tensor": torch.zeros(20, 20) - 1,
    "scalar": np.float32(1),
    "time": np.datetime64("2026-01-01"),
    "record": np.array([(1, b"a")], dtype=[("a", int), ("b", "S4")])[0],
    "numbers": [255, 216, 255, 1, 2, 3, 4, 5, 6, 7],
    "stdout": sys.stdout,
    "enum": Level.HIGH,
    "enum of a text": Level.WORDS,
    "address": AnyUrl("https://example.org/a.png"),
    "text": b"words",
    "rows": Rows([b"a"]),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_stays_the_same_object(place: Any, name: str) -> None:
    assert place(HARMLESS[name]) is HARMLESS[name]


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_is_only_written_stays(place: Any) -> None:
    with open(os.devnull, "wb") as file:
        assert place(file) is file


def test_what_cannot_be_read_again_is_refused_beside_a_message() -> None:
    source, sink = os.pipe()
    with open(source, "rb") as file, open(sink, "wb"):
        assert in_metadata(file) is file
        with pytest.raises(MessageError, match="cannot be searched"):
            beside(file)


def test_the_fields_of_a_record_are_searched() -> None:
    record = np.array([(1, RAW)], dtype=[("a", int), ("b", object)])
    for value in (record, np.void(RAW)):
        with pytest.raises(MessageError, match="cannot be replaced"):
            beside(value)
    with pytest.raises(MessageError, match="array"):
        beside(torch.eye(20).to_sparse())
