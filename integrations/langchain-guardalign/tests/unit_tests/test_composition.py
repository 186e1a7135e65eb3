"""Whatever is composed of a guard, no raw picture reaches any model in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBinding,
    RunnableLambda,
    RunnablePassthrough,
    RunnableSequence,
    RunnableWithFallbacks,
)
from pydantic import BaseModel

from guardalign_middleware.errors import GuardError, ImageRejected
from guardalign_middleware.testing import red_chain
from langchain_guardalign import ChatGuardAlign, GuardedChatModel, ImageGuardRunnable
from langchain_guardalign.composition import GuardedSequence, guard_of
from langchain_guardalign.testing import RecordingModel
from langchain_support.agents import ASKED, SHOWN, ask, raw, red_runnable
from langchain_support.models import Down, Native, Provider

PROMPT = [ask(ASKED)]
LINK = [HumanMessage([{"type": "image", "url": "https://example.org/a.png"}])]
TRY_AGAIN: dict[str, Any] = {"stop_after_attempt": 1}


class Thing(BaseModel):
    """What is in the picture."""

    thing: str


def calls_thing() -> Provider:
    call = {"name": "Thing", "args": {"thing": "square"}, "id": "1"}
    return Provider(answers=[AIMessage("", tool_calls=[call])])


def bind(model: Any) -> Any:
    return model.bind_tools([Thing])


# Runnables made from a guarded model, each of which is then given fallbacks.
MADE: dict[str, Callable[[Any], Any]] = {
    "itself": lambda model: model,
    "tools": bind,
    "keywords": lambda model: model.bind(stop=["a"]),
    "config": lambda model: model.with_config(tags=["a"]),
    "retry": lambda model: model.with_retry(**TRY_AGAIN),
    "tools, then retry": lambda model: bind(model).with_retry(**TRY_AGAIN),
    "listeners": lambda model: model.with_listeners(on_start=lambda run: None),
    "async listeners": lambda model: bind(model).with_alisteners(),
    "types": lambda model: model.with_types(input_type=list),
    "parser": lambda model: model | StrOutputParser(),
    "two steps": lambda model: model | StrOutputParser() | RunnablePassthrough(),
    "pipe": lambda model: model.pipe(StrOutputParser(), RunnablePassthrough(), name="chain"),
    "function": lambda model: model | (lambda message: message),
    "mapping": lambda model: model | {"answer": StrOutputParser()},
    "pick": lambda model: (model | {"answer": StrOutputParser()}).pick("answer"),
    "assign": lambda model: (model | {"a": StrOutputParser()}).assign(b=lambda _: 1),
    "fallbacks": lambda model: model.with_fallbacks([Provider(down=True)]),
    "tools on fallbacks": lambda model: bind(model.with_fallbacks([Provider(down=True)])),
    "config on fallbacks": lambda model: model.with_fallbacks([Provider(down=True)]).with_config(),
    "field": lambda model: model.configurable_fields(chat_model=ConfigurableField("which")),
    "alternative": lambda model: model.configurable_alternatives(
        ConfigurableField("which"), other=Provider(down=True)
    ),
    "structured": lambda model: model.with_structured_output(Thing),
    "structured, raw": lambda model: model.with_structured_output(Thing, include_raw=True),
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
@pytest.mark.parametrize("kind", [Provider, Native])
def test_no_fallback_sees_a_raw_picture(made: Callable[[Any], Any], kind: Any) -> None:
    first, second = kind(down=True), Provider()
    runnable = made(red_runnable() | first)
    assert guard_of(runnable) is not None
    chain = runnable.with_fallbacks([second])
    assert chain.invoke(PROMPT)
    assert "".join(map(str, chain.stream(PROMPT)))
    assert (len(first.seen), len(second.seen)) == (2, 2)
    assert raw([first.seen, second.seen]) == 0
    with pytest.raises(ImageRejected):
        chain.invoke(LINK)
    assert len(second.seen) == 2
    # And so on: fallbacks of fallbacks.
    third = Provider()
    chain = runnable.with_fallbacks([Provider(down=True)]).with_fallbacks([third])
    chain.invoke(PROMPT)
    assert (len(third.seen), raw(third.seen)) == (1, 0)


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
async def test_no_awaited_fallback_sees_a_raw_picture(made: Callable[[Any], Any]) -> None:
    first, second = Provider(down=True), Provider()
    chain = made(red_runnable() | first).with_fallbacks([second | StrOutputParser()])
    assert await chain.ainvoke(PROMPT) == "a blue square"
    assert [chunk async for chunk in chain.astream(PROMPT)]
    assert (len(first.seen), len(second.seen)) == (2, 2)
    assert raw([first.seen, second.seen]) == 0


# Everything that may stand behind `guard | ...`, made of one model.
BEHIND: dict[str, Callable[[BaseChatModel], Any]] = {
    "model": lambda model: model,
    "tools": bind,
    "tools and config": lambda model: bind(model).with_config(tags=["a"]),
    "retry": lambda model: model.with_retry(**TRY_AGAIN),
    "fallbacks": lambda model: Provider(down=True).with_fallbacks([model]),
    "fallbacks with tools": lambda model: bind(Provider(down=True).with_fallbacks([model])),
    "tools of each": lambda model: bind(Provider(down=True)).with_fallbacks([bind(model)]),
    "fallback chain": lambda model: Provider(down=True).with_fallbacks([model | StrOutputParser()]),
    "structured": lambda model: model.with_structured_output(Thing, include_raw=True),
    "parser": lambda model: model | StrOutputParser(),
    "prompt": lambda model: ChatPromptTemplate.from_messages([("placeholder", "{m}")]) | model,
    "function": lambda model: lambda value: model.invoke(value),
    "mapping": lambda model: {"answer": model},
    "branches": lambda model: {"a": model, "b": RunnablePassthrough()},
    "passed through": lambda model: RunnablePassthrough() | model,
    "alternatives": lambda model: Provider().configurable_alternatives(
        ConfigurableField("which"), default_key="a", b=model
    ),
}


@pytest.mark.parametrize("made", BEHIND.values(), ids=BEHIND)
def test_whatever_is_behind_the_guard_sees_cleaned_pictures(made: Callable[[Any], Any]) -> None:
    inner, spare = Provider(), Provider()
    chain = red_runnable() | made(inner)
    prompt: Any = {"m": PROMPT} if made is BEHIND["prompt"] else PROMPT
    chain.with_config(configurable={"which": "b"}).invoke(prompt)
    assert (len(inner.seen), raw(inner.seen)) == (1, 0)
    with pytest.raises(ImageRejected):
        chain.invoke(LINK)
    assert len(inner.seen) == 1
    inner.down = True
    if made not in (BEHIND["alternatives"], BEHIND["prompt"]):
        chain.with_fallbacks([spare]).invoke(prompt)
        assert (len(spare.seen), raw(spare.seen)) == (1, 0)


def test_what_each_of_them_is() -> None:
    guard, model = red_runnable(), Provider()
    assert isinstance(guard | model, GuardedChatModel)
    bound = guard | bind(model)
    assert isinstance(bound, RunnableBinding)
    assert isinstance(bound.bound, GuardedChatModel)
    assert bound.kwargs["tools"][0]["function"]["name"] == "Thing"
    both = guard | model.with_fallbacks([Provider()], exceptions_to_handle=(Down,))
    assert isinstance(both, RunnableWithFallbacks)
    assert both.exceptions_to_handle == (Down,)
    assert all(isinstance(each, GuardedChatModel) for each in both.runnables)
    assert isinstance(both.bind_tools([Thing]), RunnableWithFallbacks)
    for other in (
        ChatPromptTemplate.from_messages(["{m}"]),
        PromptTemplate.from_template("{m}"),
        StrOutputParser(),
        FakeListLLM(responses=["a"]),
        RunnableLambda(str),
        model | StrOutputParser(),
    ):
        chain = guard | other
        assert isinstance(chain, RunnableSequence)
        assert chain.first is guard
    with pytest.raises(TypeError, match="Expected a Runnable"):
        _ = guard | 3


def test_a_sequence_goes_on_as_one() -> None:
    model = Provider()
    chain = red_runnable() | RunnablePassthrough() | model | StrOutputParser()
    assert isinstance(chain, GuardedSequence)
    assert len(chain.steps) == 4
    second = Provider()
    model.down = True
    assert chain.with_fallbacks([second | StrOutputParser()]).invoke(PROMPT) == "a blue square"
    assert raw([model.seen, second.seen]) == 0


def test_only_the_named_faults_are_handled() -> None:
    second = Provider()
    chain = (red_runnable() | Provider(down=True)).with_fallbacks(
        [second], exceptions_to_handle=(GuardError,)
    )
    with pytest.raises(Down):
        chain.invoke(PROMPT)
    assert second.seen == []


def test_a_fault_of_the_guard_reaches_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    front, second = red_runnable(), Provider()

    def broken(images: Any) -> Any:
        raise GuardError("The guard is broken.", remedy="Mend it.")

    monkeypatch.setattr(front.guard.detector, "scan_many", broken)
    with pytest.raises(GuardError):
        (front | Provider()).with_fallbacks([second]).invoke(PROMPT)
    assert second.seen == []


def test_a_guarded_fallback_keeps_its_own_guard() -> None:
    second = Provider()
    own = red_runnable(on_unsafe="notice") | second
    prompt = ChatPromptTemplate.from_messages([("placeholder", "{messages}")])
    for fallback in (own, own.bind(stop=["a"]), own | StrOutputParser(), own.with_config()):
        chain = (red_runnable() | Provider(down=True)).with_fallbacks([fallback])
        assert chain.fallbacks[0] is fallback
        chain.invoke(PROMPT)
    assert guard_of(prompt | own) is own.guard
    assert guard_of(second) is None
    assert guard_of(second | red_runnable()) is None
    assert guard_of(RunnableLambda(str) | red_runnable()) is None
    assert raw(second.seen) == 0


def test_a_guard_alone_is_not_passed_by() -> None:
    through = red_runnable().with_fallbacks([RunnablePassthrough()])
    with pytest.raises(ImageRejected):
        through.invoke(LINK)
    assert raw(through.invoke(PROMPT)) == 0
    second = red_runnable(on_unsafe="notice")
    assert red_runnable().with_fallbacks([second]).fallbacks[0] is second


def test_alternatives_are_guarded() -> None:
    models = {name: Provider() for name in ("other", "made")}
    chain: Any = (red_runnable() | Provider()).configurable_alternatives(
        ConfigurableField("which"), other=models["other"], made=lambda: models["made"]
    )
    for name, model in models.items():
        chain.with_config(configurable={"which": name}).invoke(PROMPT)
        assert (len(model.seen), raw(model.seen)) == (1, 0)


def test_each_of_a_list_has_guarded_fallbacks() -> None:
    second = Provider()
    chain = (red_runnable() | Provider(down=True)).map().with_fallbacks([second.map()])
    assert len(chain.invoke([PROMPT, [ask(SHOWN)]])) == 2
    assert (len(second.seen), raw(second.seen)) == (2, 0)


def failing() -> ChatGuardAlign:
    model = ChatGuardAlign(chain=red_chain())

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise Down

    object.__setattr__(model, "_generate", fail)
    object.__setattr__(model, "_stream", fail)
    return model


LOCAL: dict[str, Callable[[Any], Any]] = {
    name: MADE[name] for name in ("itself", "keywords", "config", "retry", "parser", "fallbacks")
}


@pytest.mark.parametrize("made", LOCAL.values(), ids=LOCAL)
def test_fallbacks_of_the_local_model_are_guarded(made: Callable[[Any], Any]) -> None:
    second = Provider()
    chain = made(failing()).with_fallbacks([second])
    chain.invoke(PROMPT)
    assert (len(second.seen), raw(second.seen)) == (1, 0)
    # The guard refuses; the fallback is not asked.
    with pytest.raises(ImageRejected):
        made(ChatGuardAlign(chain=red_chain())).with_fallbacks([second]).invoke(LINK)
    assert len(second.seen) == 1


def test_a_guard_before_something_guarded_keeps_its_kind() -> None:
    second = Provider()
    for made in (bind, lambda model: model.with_fallbacks([second]), lambda model: model):
        once = red_runnable(on_unsafe="flag") | made(red_runnable() | Provider(down=True))
        assert isinstance(once, type(made(red_runnable() | Provider())))
        chain = (red_runnable() | once).with_fallbacks([second])
        second.seen.clear()
        chain.invoke(PROMPT)
        assert (len(second.seen), raw(second.seen)) == (1, 0)


def test_the_local_models_guard_has_its_preset() -> None:
    chain = ChatGuardAlign(preset="mini").with_fallbacks([Provider()])
    guarded = chain.fallbacks[0]
    assert isinstance(guarded, GuardedChatModel)
    assert guarded.guard.preset == "mini"


def test_structured_output_in_the_models_own_way() -> None:
    inner = Native(answers=[AIMessage("square")])
    model = red_runnable() | inner
    assert model.with_structured_output(Thing).invoke(PROMPT) == Thing(thing="square")
    assert inner.keywords[0]["response_format"] is Thing
    caller = calls_thing()
    model = red_runnable() | caller
    assert model.with_structured_output(Thing).invoke(PROMPT) == Thing(thing="square")
    both: Any = model.with_structured_output(Thing, include_raw=True).invoke(PROMPT)
    assert both["parsed"] == Thing(thing="square")
    assert both["raw"].response_metadata["guardalign"]["masked"] == 1
    assert caller.keywords[0]["tool_choice"] == "any"
    assert raw([inner.seen, caller.seen]) == 0
    with pytest.raises(NotImplementedError):
        (red_runnable() | Plain(answers=[])).with_structured_output(Thing)


class Plain(RecordingModel):
    bind_tools = BaseChatModel.bind_tools


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_a_loaded_sequence_still_guards_its_fallbacks() -> None:
    chain = ImageGuardRunnable(preset="mini") | StrOutputParser()
    again: Runnable[Any, Any] = load(
        dumpd(chain),
        valid_namespaces=["langchain_guardalign", "langchain_core"],
        allowed_objects=[GuardedSequence, ImageGuardRunnable, StrOutputParser],
    )
    assert isinstance(again, GuardedSequence)
    assert dumpd(again) == dumpd(chain)
    assert isinstance(again.with_fallbacks([Provider()]).fallbacks[0], GuardedChatModel)


# The residuals of docs/langchain.md: LangChain composes these without asking the guard.
def test_what_starts_before_the_guard_has_raw_fallbacks() -> None:
    prompt = ChatPromptTemplate.from_messages([("placeholder", "{messages}")])
    second = Provider()
    late = (prompt | red_runnable() | Provider(down=True)).with_fallbacks([prompt | second])
    late.invoke({"messages": PROMPT})
    assert raw(second.seen) == 1
    third = Provider()
    right = prompt | (red_runnable() | Provider(down=True)).with_fallbacks([third])
    right.invoke({"messages": PROMPT})
    assert (len(third.seen), raw(third.seen)) == (1, 0)


def test_a_sequence_built_by_hand_has_raw_fallbacks() -> None:
    second = Provider()
    by_hand = RunnableSequence(red_runnable(), Provider(down=True))
    by_hand.with_fallbacks([second]).invoke(PROMPT)
    assert raw(second.seen) == 1


def test_the_model_behind_is_not_guarded() -> None:
    inner = Provider()
    (red_runnable() | inner).chat_model.invoke(PROMPT)
    assert raw(inner.seen) == 1


class Loop(RunnableLambda[Any, Any]):
    """As an agent, with keywords of its own."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []
        super().__init__(self._note, self._anote)

    def _note(self, messages: Any, **kwargs: Any) -> Any:
        self.given.append(kwargs)
        return messages

    async def _anote(self, messages: Any, **kwargs: Any) -> Any:
        return self._note(messages, **kwargs)


async def test_keywords_of_a_call_go_to_what_stands_behind_the_guard() -> None:
    loop = Loop()
    chain = red_runnable() | loop | RunnablePassthrough()
    chain.invoke(PROMPT, context="ann")
    await chain.ainvoke(PROMPT, context="ann")
    chain.batch([PROMPT], context="ann", return_exceptions=True)
    await chain.abatch([PROMPT], context="ann")
    list(chain.stream(PROMPT, context="ann"))
    assert [each async for each in chain.astream(PROMPT, context="ann")]
    chain.bind(context="ann").invoke(PROMPT)
    assert loop.given == [{"context": "ann"}] * 7
    chain.invoke(PROMPT)
    assert loop.given[-1] == {}


def test_an_agent_behind_the_guard_streams_as_asked() -> None:
    agent = create_agent(Provider(answers=[AIMessage("done")]))
    asked = {"messages": PROMPT}
    bare, guarded = (
        [type(each) for each in made.stream(asked, stream_mode="messages")]
        for made in (agent, red_runnable() | agent)
    )
    assert bare == guarded == [tuple] * len(bare)


def test_a_guarded_local_model_behind_the_guard_tells_each_verdict_once() -> None:
    model = red_runnable() | ChatGuardAlign(chain=red_chain())
    chunks = list(model.stream(PROMPT))
    streamed = chunks[0]
    for chunk in chunks[1:]:
        streamed += chunk
    told = streamed.response_metadata["guardalign"]
    assert told["verdicts"] == model.invoke(PROMPT).response_metadata["guardalign"]["verdicts"]
    assert (told["masked"], told["calibration"]["state"]) == (1, "off")


async def test_the_first_event_of_a_guarded_model_holds_what_the_caller_sent() -> None:
    guard = red_runnable()
    model = guard | Provider(answers=[AIMessage("a"), AIMessage("a")])
    sent = [each async for each in model.astream_events(PROMPT, version="v2")]
    assert sent[0]["event"] == "on_chat_model_start"
    assert raw(sent[0]["data"])
    assert not any(raw(each["data"]) for each in sent[1:])
    before = await guard.ainvoke(PROMPT)
    assert not any([raw(each["data"]) async for each in model.astream_events(before, version="v2")])
