"""What all four classes share: one guard, strict fields, copies and pickles."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.llms import MockLLM
from pydantic import ValidationError

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.testing import EchoRunner, red_chain
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignMultiModal,
    GuardAlignNodePostprocessor,
)
from llama_index_support.conversations import GUARD

CHAIN = red_chain(runner=EchoRunner())


def guarded(**fields: Any) -> GuardAlignGuardedLLM:
    return GuardAlignGuardedLLM(llm=MockLLM(), **fields)


CLASSES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "GuardAlignMultiModal": (GuardAlignMultiModal, {"chain": CHAIN}),
    "GuardAlignGuardedLLM": (guarded, {"guard": GUARD}),
    "GuardAlignNodePostprocessor": (GuardAlignNodePostprocessor, {"guard": GUARD}),
    "GuardAlignImageTransform": (GuardAlignImageTransform, {"guard": GUARD}),
}
every_class = pytest.mark.parametrize(
    ("make", "loaded"), CLASSES.values(), ids=CLASSES, scope="module"
)
MOST: list[Any] = [GuardAlignMultiModal, GuardAlignNodePostprocessor, GuardAlignImageTransform]


@every_class
def test_a_preset_or_something_loaded_and_not_both(
    make: Callable[..., Any], loaded: dict[str, Any]
) -> None:
    assert make().preset == "mini"
    assert make(**loaded).preset is None
    for wrong in ({"preset": "mini", **loaded}, {"preset": None}):
        with pytest.raises(ConfigError, match="Exactly one of preset and"):
            make(**wrong)


@every_class
def test_an_unknown_field_is_refused(make: Callable[..., Any], loaded: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="alow_unscanned"):
        make(**loaded, alow_unscanned=True)


@every_class
def test_a_copy_shares_what_is_loaded(make: Callable[..., Any], loaded: dict[str, Any]) -> None:
    original = make(**loaded)
    copied = copy.deepcopy(original)
    assert type(copied) is type(original)
    assert copied._lazy is original._lazy


@every_class
def test_a_pickle_holds_the_preset_only(make: Callable[..., Any], loaded: dict[str, Any]) -> None:
    again = pickle.loads(pickle.dumps(make(preset="mini")))
    assert again.preset == "mini"
    assert again._lazy._loaded is None
    with pytest.raises(TypeError, match="preset"):
        pickle.dumps(make(**loaded))
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(make(preset="mini", fetch=lambda _: b""))


@every_class
def test_it_has_a_json_schema(make: Callable[..., Any], loaded: dict[str, Any]) -> None:
    properties = type(make(**loaded)).model_json_schema()["properties"]
    assert {"preset", "fetch"} <= set(properties)


@pytest.mark.parametrize("kind", MOST)
def test_what_to_dict_writes_from_dict_reads(kind: Any) -> None:
    field = {"temperature": 0.5} if kind is GuardAlignMultiModal else {"on_unsafe": "drop"}
    written = kind(preset="mini", **field).to_dict()
    assert "fetch" not in written
    again = kind.from_dict(written)
    assert {name: getattr(again, name) for name in field} == field


@pytest.mark.parametrize("kind", MOST[1:])
@pytest.mark.parametrize("value", ["notice", "block", "blur", None, ["mask"]])
def test_an_unknown_on_unsafe_is_refused_by_naming_the_known_ones(kind: Any, value: Any) -> None:
    with pytest.raises(ConfigError, match="mask, drop, flag") as caught:
        kind(guard=GUARD, on_unsafe=value)
    assert repr(value) in str(caught.value)


class Unpicklable(MockLLM):
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("this cannot be pickled")


def test_a_pickle_holds_the_inner_llm_or_fails() -> None:
    again = pickle.loads(pickle.dumps(guarded(preset="mini")))
    assert isinstance(again.llm, MockLLM)
    llm = GuardAlignGuardedLLM(llm=Unpicklable(), preset="mini")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(llm)
    assert isinstance(llm.llm, Unpicklable)
