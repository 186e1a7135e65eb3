"""What all classes share: one guard, strict fields, copies and pickles."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing import EchoRunner, red_chain
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignMemory,
    GuardAlignMultiModal,
    GuardAlignNodePostprocessor,
)
from llama_index_support.conversations import GUARD

CHAIN = red_chain(runner=EchoRunner())


def guarded(**fields: Any) -> GuardAlignGuardedLLM:
    return GuardAlignGuardedLLM(llm=MockLLM(), **fields)


def remembering(*source: Any, **fields: Any) -> GuardAlignMemory:
    return GuardAlignMemory(ChatMemoryBuffer(token_limit=99, tokenizer_fn=list), *source, **fields)


CLASSES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "GuardAlignMultiModal": (GuardAlignMultiModal, {"chain": CHAIN}),
    "GuardAlignGuardedLLM": (guarded, {"guard": GUARD}),
    "GuardAlignNodePostprocessor": (GuardAlignNodePostprocessor, {"guard": GUARD}),
    "GuardAlignImageTransform": (GuardAlignImageTransform, {"guard": GUARD}),
    "GuardAlignMemory": (remembering, {"guard": GUARD}),
}
every_class = pytest.mark.parametrize(
    ("make", "loaded"), CLASSES.values(), ids=CLASSES, scope="module"
)
MOST: list[Any] = [GuardAlignMultiModal, GuardAlignNodePostprocessor, GuardAlignImageTransform]


GUARDED = [name for name in CLASSES if name != "GuardAlignMultiModal"]
every_guard = pytest.mark.parametrize("name", GUARDED)
# How a caller would write each of them.
DIRECT: dict[str, Callable[..., Any]] = {
    "GuardAlignMultiModal": GuardAlignMultiModal,
    "GuardAlignGuardedLLM": lambda *source, **fields: GuardAlignGuardedLLM(
        MockLLM(), *source, **fields
    ),
    "GuardAlignNodePostprocessor": GuardAlignNodePostprocessor,
    "GuardAlignImageTransform": GuardAlignImageTransform,
    "GuardAlignMemory": remembering,
}


@every_class
def test_a_preset_or_something_loaded_and_not_both(
    make: Callable[..., Any], loaded: dict[str, Any]
) -> None:
    assert make(preset="mini").preset == "mini"
    assert make(**loaded).preset is None
    with pytest.raises(ConfigError, match="Exactly one of preset and"):
        make(preset="mini", **loaded)
    with pytest.raises(ConfigError, match="preset"):
        make(preset=None)


def test_its_own_model_has_a_default() -> None:
    assert GuardAlignMultiModal().preset == "mini"


@every_guard
def test_nothing_guards_anothers_model_by_default(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} needs a preset or a guard") as caught:
        DIRECT[name]()
    assert "clip-vit-l-14-336" in caught.value.remedy


@pytest.mark.parametrize("name", CLASSES)
def test_a_preset_or_something_loaded_may_come_first(name: str) -> None:
    (loaded,) = CLASSES[name][1].values()
    assert DIRECT[name](loaded)._lazy.get() is loaded
    assert DIRECT[name]("mini").preset == "mini"
    for both in ({"preset": "mini"}, CLASSES[name][1]):
        with pytest.raises(ConfigError, match="Exactly one of preset and"):
            DIRECT[name](loaded, **both)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("preset", [3, True, b"mini", ["mini"], GUARD, ImageGuard])
def test_a_preset_of_another_type_is_refused_in_words(name: str, preset: Any) -> None:
    with pytest.raises(ConfigError, match="preset should be a string or a path"):
        DIRECT[name](preset=preset)


@every_guard
@pytest.mark.parametrize("guard", ["mini", 3, ImageGuard, CHAIN, MockLLM()])
def test_a_guard_of_another_type_is_refused_in_words(name: str, guard: Any) -> None:
    with pytest.raises(ConfigError, match="guard should be an ImageGuard"):
        DIRECT[name](guard=guard)


@pytest.mark.parametrize(
    ("llm", "words"),
    [
        (None, "Received None"),
        ("gpt-4o", "Received 'gpt-4o'"),
        (MockLLM, "Received the class MockLLM"),
        (GUARD, "Received an ImageGuard"),
    ],
)
def test_an_inner_llm_of_another_type_is_refused_in_words(llm: Any, words: str) -> None:
    for make in (
        lambda: GuardAlignGuardedLLM(llm, preset="mini"),
        lambda: GuardAlignGuardedLLM(llm=llm, preset="mini"),
    ):
        with pytest.raises(ConfigError, match=f"llm should be an LLM. {words}"):
            make()
    with pytest.raises(ConfigError, match="two LLMs"):
        GuardAlignGuardedLLM(MockLLM(), llm=MockLLM(), preset="mini")


def test_an_inner_memory_of_another_type_is_refused_in_words() -> None:
    for memory, words in (
        (None, "None"),
        ("x", "'x'"),
        (ChatMemoryBuffer, "the class ChatMemoryBuffer"),
        (GUARD, "an ImageGuard"),
    ):
        for make in (
            lambda memory=memory: GuardAlignMemory(memory, preset="mini"),
            lambda memory=memory: GuardAlignMemory(memory=memory, preset="mini"),
            lambda memory=memory: GuardAlignMemory.from_dict({"preset": "mini", "memory": memory}),
        ):
            with pytest.raises(ConfigError, match=f"memory of LlamaIndex. Received {words}"):
                make()
    with pytest.raises(ConfigError, match="memory of LlamaIndex. Received None"):
        GuardAlignMemory.from_dict({"preset": "mini"})
    inner = ChatMemoryBuffer(token_limit=99, tokenizer_fn=list)
    with pytest.raises(ConfigError, match="two memories"):
        GuardAlignMemory(inner, memory=inner, preset="mini")


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("GuardAlignMultiModal", "temprature", "temperature"),
        ("GuardAlignMultiModal", "chian", "chain"),
        ("GuardAlignGuardedLLM", "alow_unscanned", "allow_unscanned"),
        ("GuardAlignGuardedLLM", "gaurd", "guard"),
        ("GuardAlignGuardedLLM", "rate_limit", "rate_limiter"),
        ("GuardAlignNodePostprocessor", "on_unsave", "on_unsafe"),
        ("GuardAlignImageTransform", "present", "preset"),
        ("GuardAlignMemory", "on_refuse", "on_refused"),
    ],
)
def test_an_unknown_keyword_is_refused_by_naming_the_nearest(
    name: str, wrong: str, right: str
) -> None:
    with pytest.raises(ConfigError, match=f"no option {wrong!r}. Did you mean {right!r}"):
        DIRECT[name](**{wrong: "x"})


@every_guard
def test_the_toy_is_named_once_in_the_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    made = DIRECT[name](preset="mini")
    copy.deepcopy(made)
    (record,) = [each for each in caplog.records if each.name.startswith("guardalign_middleware")]
    assert record.levelname == "WARNING"
    assert name in record.getMessage()
    assert "drawn pictures" in record.getMessage()
    caplog.clear()
    DIRECT[name](guard=GUARD)
    GuardAlignGuardedLLM(GuardAlignMultiModal(preset="mini"), preset="mini")
    GuardAlignMultiModal(preset="mini")
    assert caplog.records == []


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


@every_class
def test_a_preset_is_read_once_and_options_are_checked(
    make: Callable[..., Any], loaded: dict[str, Any]
) -> None:
    made = make(**loaded)
    with pytest.raises(ConfigError, match="is read only when it is made"):
        made.preset = "other"
    with pytest.raises(ConfigError, match="on_refused should be one of"):
        made.on_refused = "nonsense"
    made.on_refused = "notice"
    assert made.on_refused == "notice"
