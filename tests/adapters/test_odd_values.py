"""Values of every kind that can hold a picture: cleaned, or refused with a typed error."""

from __future__ import annotations

import array
import collections
import functools
import io
import types
from collections.abc import Callable, Iterator, Mapping, MutableMapping, ValuesView
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.llms import ChatMessage

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.testing import RED, base64_png, picture, png, red_guard
from langchain_guardalign import ImageGuardRunnable
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from llama_index_support.doubles import PlainLLM

UNSAFE = picture(red=True)
RAW, B64 = png(UNSAFE), base64_png(UNSAFE)


class Slotted:
    """An object without a dictionary."""

    __slots__ = ("picture",)

    def __init__(self, picture: object) -> None:
        self.picture = picture


class Headers(MutableMapping[str, Any]):
    """A mapping whose copy shares its contents, as that of `requests` for headers does."""

    def __init__(self, **items: Any) -> None:
        self.items_inside = items

    def __getitem__(self, key: str) -> Any:
        return self.items_inside[key]

    def __setitem__(self, key: str, item: Any) -> None:
        self.items_inside[key] = item

    def __delitem__(self, key: str) -> None:
        del self.items_inside[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.items_inside)

    def __len__(self) -> int:
        return len(self.items_inside)


class Single(types.SimpleNamespace):
    """An object that is its own copy."""

    def __copy__(self) -> Single:
        return self


VALUES: dict[str, Callable[[], Any]] = {
    "a read-only mapping": lambda: types.MappingProxyType({"a": RAW}),
    "a user's dictionary": lambda: collections.UserDict(a=B64),
    "a chain of mappings": lambda: collections.ChainMap({"a": RAW}),
    "a mapping whose copy shares its contents": lambda: Headers(a=RAW),
    "a view of a mapping's values": lambda: {"a": RAW}.values(),
    "an array of bytes in numbers": lambda: array.array("B", RAW),
    "a view of pixels": lambda: memoryview(UNSAFE.pixels),
    "an object that is its own copy": lambda: Single(a=RAW),
    "a deque": lambda: collections.deque([RAW]),
    "a frozen set": lambda: frozenset({B64}),
    "a view of bytes": lambda: memoryview(RAW),
    "a file": lambda: io.BytesIO(RAW),
    "a namespace": lambda: types.SimpleNamespace(a=RAW),
    "an object with slots": lambda: Slotted(RAW),
    "an exception": lambda: ValueError(B64),
    "a partial function": lambda: functools.partial(print, RAW),
    "an array of objects": lambda: np.array([RAW, None], dtype=object),
    "an array of bytes": lambda: np.array([RAW]),
    "an array of strings": lambda: np.array([B64]),
    "an array of floats": lambda: UNSAFE.pixels / 255,
    "a batch of arrays": lambda: UNSAFE.pixels[None],
    "an array of planes": lambda: UNSAFE.pixels.transpose(2, 0, 1),
}


def holds(value: Any) -> bool:
    """Whether a value holds the raw picture, searched as deep as it goes."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OSU":
            return any(map(holds, value.ravel()))
        pixels = value.reshape(value.shape[-3:]) * (1 if value.max() > 1 else 255)
        pixels = pixels if pixels.shape[-1] == 3 else pixels.transpose(1, 2, 0)
        return bool((pixels == RED).all(axis=-1).any())
    if isinstance(value, io.BytesIO):
        return holds(value.getvalue())
    if isinstance(value, memoryview) and value.ndim > 1:
        return holds(np.asarray(value))
    if isinstance(value, bytes | memoryview | array.array):
        return RAW in bytes(value)
    if isinstance(value, str):
        return B64 in value
    if isinstance(value, Mapping):
        return any(map(holds, [*value, *value.values()]))
    if isinstance(value, list | tuple | set | frozenset | collections.deque | ValuesView):
        return any(map(holds, value))
    if isinstance(value, BaseException | functools.partial):
        return holds(value.args)
    if isinstance(value, Slotted):
        return holds(value.picture)
    return isinstance(value, types.SimpleNamespace) and holds(vars(value))


@pytest.mark.parametrize("name", VALUES)
def test_langchain(name: str) -> None:
    old = HumanMessage("Look.", additional_kwargs={"extra": VALUES[name]()})
    assert holds(old.additional_kwargs)
    try:
        cleaned = ImageGuardRunnable(guard=red_guard()).invoke(
            [old, AIMessage("Yes."), HumanMessage("And now?")]
        )
    except GuardAlignError:
        return
    assert not holds(cleaned[0].additional_kwargs)
    assert holds(old.additional_kwargs)


@pytest.mark.parametrize("name", VALUES)
def test_llama_index(name: str) -> None:
    old = ChatMessage(role="user", content="Look.")
    old.additional_kwargs["extra"] = VALUES[name]()
    inner = PlainLLM()
    messages = [
        old,
        ChatMessage(role="assistant", content="Yes."),
        ChatMessage(role="user", content="And now?"),
    ]
    try:
        GuardAlignGuardedLLM(llm=inner, guard=red_guard()).chat(messages)
    except GuardAlignError:
        assert inner.calls == []
        return
    assert not holds(inner.calls[0][0].additional_kwargs)
    assert holds(old.additional_kwargs)
