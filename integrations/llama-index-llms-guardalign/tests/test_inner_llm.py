"""What a guarded LLM shares with the inner one: attributes, settings, limiter, written form."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.tools import FunctionTool
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel, PrivateAttr

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.testing import red_chain
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignMultiModal
from llama_index.llms.guardalign.function_calling import GuardedFunctionCallingLLM
from llama_index_support.conversations import (
    BLOCKED,
    GUARD,
    SAFE,
    UNSAFE,
    ask,
    decisions,
    image_block,
)
from llama_index_support.doubles import PlainLLM, Says, ToolLLM


class Client:
    """What sends the requests of an LLM."""

    def create(self) -> None:
        raise AssertionError("a raw request")


class Provider(ToolLLM):
    """An LLM with the settings that those of providers have."""

    model: str = "gpt-4o"
    temperature: float = 0.25
    max_tokens: int | None = None
    context_window: int = 128_000
    stop: list[str] = ["END"]
    additional_kwargs: dict[str, Any] = {"top_p": 0.5}
    anything: Any = None
    _client: Client = PrivateAttr(default_factory=Client)

    @classmethod
    def class_name(cls) -> str:
        return "provider"

    @property
    def client(self) -> Client:
        return self._client

    def send(self, messages: Any) -> None:
        raise AssertionError("a raw request")


class Limiter(BaseRateLimiter):
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    def acquire(self, num_tokens: int = 0) -> None:
        self.count += 1

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.count += 1


def test_plain_settings_of_the_inner_llm_are_readable() -> None:
    inner = Provider(max_tokens=7)
    llm: Any = GuardAlignGuardedLLM(inner, GUARD)
    for name in ("model", "temperature", "max_tokens", "context_window", "stop", "chat_model"):
        assert getattr(llm, name) == getattr(inner, name)
    assert llm.additional_kwargs == {"top_p": 0.5}
    inner.temperature = 0.75
    assert llm.temperature == 0.75
    assert llm.metadata == inner.metadata


@pytest.mark.parametrize("name", ["client", "send", "_client", "calls", "nothing", "__nothing__"])
def test_nothing_that_takes_a_raw_prompt_is_reachable(name: str) -> None:
    inner = Provider()
    inner.chat(ask())
    llm = GuardAlignGuardedLLM(inner, GUARD)
    assert not hasattr(llm, name)


@pytest.mark.parametrize(
    "value", [Client(), Client().create, [Client()], {"a": Client()}, (print,), Client]
)
def test_a_setting_that_holds_something_callable_is_not_readable(value: Any) -> None:
    llm: Any = GuardAlignGuardedLLM(Provider(anything=value), GUARD)
    with pytest.raises(AttributeError, match=r"no attribute 'anything'.*not guarded"):
        _ = llm.anything


def test_settings_of_the_inner_llm_are_set_there() -> None:
    llm: Any = GuardAlignGuardedLLM(Provider(), GUARD)
    with pytest.raises(AttributeError, match=r"\.llm\.temperature"):
        llm.temperature = 1.0
    assert "temperature" not in llm.__dict__
    llm.llm.temperature = 1.0
    assert llm.temperature == 1.0


class Prefixing(ToolLLM):
    """Shows its settings in its answers."""

    def _next(self, messages: Any, kwargs: Any) -> ChatMessage:
        super()._next(messages, kwargs)
        return ChatMessage(role="assistant", content=f"{self.system_prompt}")


def test_a_setting_of_the_guarded_llm_holds_for_the_inner_one_and_nowhere_else() -> None:
    inner = Prefixing(system_prompt="inner")
    llm = GuardAlignGuardedLLM(inner, GUARD)
    assert llm.llm is inner
    llm = GuardAlignGuardedLLM(
        inner, GUARD, system_prompt="outer", pydantic_program_mode=PydanticProgramMode.LLM
    )
    assert llm.chat(ask()).message.content == "outer"
    assert llm.llm.pydantic_program_mode == PydanticProgramMode.LLM
    assert inner.chat(ask()).message.content == "inner"
    llm.system_prompt = "later"
    assert llm.chat(ask()).message.content == "later"
    assert inner.system_prompt == "inner"
    assert len(inner.calls) == 3  # copies share what they are made of


def test_a_system_prompt_is_said_once() -> None:
    inner = PlainLLM()
    llm = GuardAlignGuardedLLM(inner, GUARD, system_prompt="Be brief.")
    llm.predict(PromptTemplate("What?"))
    assert [message.content for message in inner.calls[0]] == ["Be brief.", "What?"]


def test_listeners_are_the_inner_llms_at_once_and_later() -> None:
    first, second = CallbackManager([]), CallbackManager([])
    inner = PlainLLM()
    llm = GuardAlignGuardedLLM(inner, GUARD, callback_manager=first)
    assert inner.callback_manager is first
    llm.callback_manager = second
    assert inner.callback_manager is second


EVERY_CALL: dict[str, Callable[[Any, Any], Any]] = {
    "chat": lambda llm, messages: llm.chat(messages),
    "stream_chat": lambda llm, messages: list(llm.stream_chat(messages)),
    "achat": lambda llm, messages: asyncio.run(llm.achat(messages)),
    "astream_chat": lambda llm, messages: asyncio.run(_drain(llm.astream_chat(messages))),
    "chat_with_tools": lambda llm, messages: llm.chat_with_tools([], chat_history=messages),
    "stream_chat_with_tools": lambda llm, messages: list(
        llm.stream_chat_with_tools([], chat_history=messages)
    ),
    "achat_with_tools": lambda llm, messages: asyncio.run(
        llm.achat_with_tools([], chat_history=messages)
    ),
    "astream_chat_with_tools": lambda llm, messages: asyncio.run(
        _drain(llm.astream_chat_with_tools([], chat_history=messages))
    ),
}
every_call = pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL)


async def _drain(stream: Any) -> list[Any]:
    return [item async for item in await stream]


@every_call
@pytest.mark.parametrize("where", ["guarded", "inner", "both"])
def test_a_rate_limiter_is_asked_once_for_each_call(
    call: Callable[[Any, Any], Any], where: str
) -> None:
    limiter = Limiter()
    inner = ToolLLM(rate_limiter=None if where == "guarded" else limiter)
    given = {} if where == "inner" else {"rate_limiter": limiter}
    llm = GuardAlignGuardedLLM(inner, GUARD, **given)
    assert llm.rate_limiter is limiter
    call(llm, ask(image_block(UNSAFE)))
    assert limiter.count == 1
    call(llm, ask(image_block(BLOCKED)))
    assert limiter.count == 1  # the inner LLM was not called


def test_two_rate_limiters_are_both_asked() -> None:
    own, inners = Limiter(), Limiter()
    llm = GuardAlignGuardedLLM(ToolLLM(rate_limiter=inners), GUARD)
    llm.rate_limiter = own
    llm.chat(ask())
    assert (own.count, inners.count) == (1, 1)


def test_prompts_and_objects_ask_the_rate_limiter_once() -> None:
    class Shape(BaseModel):
        name: str

    limiter = Limiter()
    inner = PlainLLM(script=[ChatMessage(role="assistant", content='{"name": "square"}')] * 2)
    llm = GuardAlignGuardedLLM(inner, GUARD, rate_limiter=limiter)
    llm.complete("What?")
    asyncio.run(llm.acomplete("What?"))
    llm.complete("What?", image_documents=[image_block(UNSAFE)])
    assert limiter.count == 3
    llm.structured_predict(Shape, PromptTemplate("What?"))
    assert limiter.count == 4


def test_a_local_model_keeps_its_rate_limiter() -> None:
    limiter = Limiter()
    llm = GuardAlignMultiModal(red_chain(runner=Says("A square.")), rate_limiter=limiter)
    llm.chat(ask(image_block(UNSAFE)))
    llm.complete("What?")
    assert limiter.count == 2


@every_call
def test_an_iterator_of_messages_is_read_once(call: Callable[[Any, Any], Any]) -> None:
    inner = ToolLLM()
    llm = GuardAlignGuardedLLM(inner, GUARD)
    call(llm, iter(ask(image_block(UNSAFE))))
    assert [message.content for message in inner.calls[0]] == ["What is it?"]
    assert inner.saw_only_clean_images(1)


@pytest.mark.parametrize("name", list(EVERY_CALL)[:4])
def test_a_local_model_reads_an_iterator_of_messages_once(name: str) -> None:
    runner = Says("A square.")
    llm = GuardAlignMultiModal(red_chain(runner=runner))
    EVERY_CALL[name](llm, iter(ask(image_block(UNSAFE))))
    assert [message.text for message in runner.calls[0].messages] == ["What is it?"]
    assert len(runner.seen) == 1


@every_call
@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("Hello?", "Received a str"),
        (ChatMessage("Hello?"), "Received a ChatMessage"),
        ({"role": "user", "content": "Hello?"}, "Received a dict"),
        (7, "Received an int"),
        (["Hello?"], r"messages\[0\] should be a ChatMessage. Received a str"),
        ([*ask(), {"role": "user"}], r"messages\[1\] should be a ChatMessage. Received a dict"),
    ],
)
def test_what_is_no_conversation_is_refused_in_words(
    call: Callable[[Any, Any], Any], messages: Any, words: str
) -> None:
    inner = ToolLLM()
    with pytest.raises(MessageError, match=words):
        call(GuardAlignGuardedLLM(inner, GUARD), messages)
    assert inner.calls == []


async def test_several_tools_are_called_at_once() -> None:
    both = ChatMessage(
        role="assistant",
        blocks=[
            ToolCallBlock(tool_name="look", tool_kwargs={"x": x}, tool_call_id=str(x))
            for x in (1, 2)
        ],
    )
    inner = ToolLLM(script=[both] * 4)
    llm: Any = GuardAlignGuardedLLM(inner, GUARD)
    tools = [FunctionTool.from_defaults(look)]
    history = ask(image_block(UNSAFE))
    response = llm.chat_with_tools(
        iter(tools), chat_history=history, allow_parallel_tool_calls=True
    )
    selected = llm.get_tool_calls_from_response(response)
    assert [call.tool_kwargs for call in selected] == [{"x": 1}, {"x": 2}]
    for called in (
        llm.predict_and_call(tools, None, history, allow_parallel_tool_calls=True),
        await llm.apredict_and_call(tools, None, history, allow_parallel_tool_calls=True),
    ):
        assert called.response == "seen 1\n\nseen 2"
    assert inner.saw_only_clean_images(3)


def look(x: int) -> str:
    """Look at something."""
    return f"seen {x}"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [(Provider, {"temperature": 0.75}), (MockFunctionCallingLLM, {}), (MockLLM, {})],
)
def test_what_to_dict_writes_from_dict_reads(kind: Any, fields: Any) -> None:
    llm = GuardAlignGuardedLLM(kind(**fields), preset="mini", allow_unscanned=True)
    again = GuardAlignGuardedLLM.from_dict(llm.to_dict())
    assert type(again) is type(llm)
    assert type(again.llm) is kind
    assert (again.preset, again.allow_unscanned) == ("mini", True)
    assert again.to_dict() == llm.to_dict()


def test_what_to_json_writes_from_json_reads() -> None:
    llm = GuardAlignGuardedLLM(Provider(temperature=0.75), preset="mini")
    again = GuardAlignGuardedLLM.from_json(llm.to_json())
    assert again.to_dict() == llm.to_dict()


class Inheriting(Provider):
    """Has the class name of another."""


def test_the_inner_llm_comes_back_as_the_class_it_was() -> None:
    for kind in (Inheriting, Provider):
        written = GuardAlignGuardedLLM(kind(), preset="mini").to_dict()
        assert type(GuardAlignGuardedLLM.from_dict(written).llm) is kind
        twice = GuardAlignGuardedLLM(GuardAlignGuardedLLM(kind(), preset="mini"), preset="mini")
        again = GuardAlignGuardedLLM.from_dict(twice.to_dict())
        assert type(again) is GuardedFunctionCallingLLM
        assert type(again.llm.llm) is kind  # type: ignore[attr-defined]


def test_a_loaded_guard_is_not_written_and_has_to_be_given() -> None:
    written = GuardAlignGuardedLLM(Provider(), GUARD).to_dict()
    with pytest.raises(ConfigError, match="no loaded guard") as caught:
        GuardAlignGuardedLLM.from_dict(written)
    assert "guard=" in caught.value.remedy
    again = GuardAlignGuardedLLM.from_dict(written, guard=GUARD)
    assert decisions(again.chat(ask(image_block(UNSAFE)))) == ["mask"]
    assert GuardAlignGuardedLLM.from_dict(written, preset="mini").preset == "mini"


def test_an_inner_llm_that_cannot_be_made_has_to_be_given() -> None:
    written = GuardAlignGuardedLLM(Provider(), preset="mini").to_dict()
    inner = MockLLM()
    for change in (
        {"llm_class": "nowhere.Unknown"},
        {"llm_class": "llama_index.llms.nowhere.Unknown"},
        {"llm_class": None, "llm": {"class_name": "unknown"}},
        {"llm": {"class_name": "provider", "temperature": "hot"}},
    ):
        damaged = {**written, **change}
        with pytest.raises(ConfigError) as caught:
            GuardAlignGuardedLLM.from_dict(damaged)
        assert "llm=" in caught.value.remedy
        assert GuardAlignGuardedLLM.from_dict(damaged, llm=inner).llm is inner
    with pytest.raises(ConfigError, match="llm should be an LLM. Received None"):
        GuardAlignGuardedLLM.from_dict({"preset": "mini"})


def test_a_class_name_alone_is_enough_if_one_class_has_it() -> None:
    written = GuardAlignGuardedLLM(MockLLM(), preset="mini").to_dict()
    del written["llm_class"]
    assert type(GuardAlignGuardedLLM.from_dict(written).llm) is MockLLM


def test_of_a_class_defined_twice_the_current_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    written = GuardAlignGuardedLLM(Provider(), preset="mini").to_dict()
    again = type("Provider", (Provider,), {"__module__": __name__, "__qualname__": "Provider"})
    assert type(GuardAlignGuardedLLM.from_dict(written).llm) is Provider
    monkeypatch.setattr(sys.modules[__name__], "Provider", again)
    assert type(GuardAlignGuardedLLM.from_dict(written).llm) is again


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_keep_class_settings_and_inner_llm(copied: Callable[[Any], Any]) -> None:
    inner = Provider(temperature=0.75, system_prompt="inner")
    llm = GuardAlignGuardedLLM(inner, preset="mini", system_prompt="outer", on_blocked="notice")
    again = copied(llm)
    assert type(again) is GuardedFunctionCallingLLM
    assert (again.temperature, again.system_prompt, again.on_blocked) == (0.75, "outer", "notice")
    assert again.llm.system_prompt == "outer"
    assert again.llm.model == "gpt-4o"
    assert again.chat(ask(image_block(SAFE))).message.content == "I see."
