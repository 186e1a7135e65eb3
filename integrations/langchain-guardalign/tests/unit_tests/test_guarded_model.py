"""A guarded model does what the model behind it does, on pictures that the guard has cleaned."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField
from langchain_core.tracers.context import collect_runs

from guardalign_middleware.errors import ConfigError, GuardError, ImageRejected
from guardalign_middleware.testing import data_url, picture, red_guard
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import ChatGuardAlign, GuardedChatModel, ImageGuardRunnable
from langchain_support.agents import ASKED, SHOWN, ask, covered, raw, red_runnable
from langchain_support.models import USAGE, Down, Provider, Words

Pictures = Callable[[object], list[CanonicalImage]]
LINK = HumanMessage([{"type": "image", "url": "https://example.org/a.png"}])


def behind(model: BaseChatModel, **options: Any) -> GuardedChatModel:
    return red_runnable(**options) | model


class Seen(BaseCallbackHandler):
    """The prompts and tokens of every model run."""

    def __init__(self) -> None:
        self.prompts: list[Any] = []
        self.tokens: list[str] = []
        self.ids: list[Any] = []
        self.names: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.prompts.append(messages)
        self.ids.append(kwargs["run_id"])
        self.names.append(kwargs.get("name") or "")

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(token)


def test_the_runnable_before_a_model_is_a_model(pictures: Pictures) -> None:
    inner = Provider()
    model = behind(inner)
    assert isinstance(model, GuardedChatModel)
    assert isinstance(model, BaseChatModel)
    answer = model.invoke([ask(ASKED)])
    assert answer.text == "a blue square"
    assert answer.usage_metadata == USAGE
    assert answer.response_metadata["guardalign"]["masked"] == 1
    assert all(covered(image) for image in pictures(inner.seen))
    assert "guardalign" not in model.invoke("words").response_metadata


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda model, prompt: model.invoke(prompt),
    "stream": lambda model, prompt: list(model.stream(prompt)),
    "batch": lambda model, prompt: model.batch([prompt, "words"]),
    "batch_as_completed": lambda model, prompt: list(model.batch_as_completed([prompt])),
    "generate": lambda model, prompt: model.generate([prompt, [HumanMessage("words")]]),
    "transform": lambda model, prompt: list(model.transform(iter([prompt]))),
    "_generate": lambda model, prompt: model._generate(prompt),
    "_stream": lambda model, prompt: list(model._stream(prompt)),
    "map": lambda model, prompt: model.map().invoke([prompt]),
    "get_num_tokens": lambda model, prompt: model.get_num_tokens_from_messages(prompt),
    "bound": lambda model, prompt: model.bind_tools([]).invoke(prompt),
    "with_config": lambda model, prompt: model.with_config(tags=["a"]).invoke(prompt),
    "with_retry": lambda model, prompt: model.with_retry(stop_after_attempt=1).invoke(prompt),
    "prompt": lambda model, prompt: (
        ChatPromptTemplate.from_messages([("placeholder", "{messages}")]) | model
    ).invoke({"messages": prompt}),
}


async def _all(stream: Any) -> list[Any]:
    return [item async for item in stream]


ASYNC: dict[str, Callable[[Any, Any], Any]] = {
    "ainvoke": lambda model, prompt: model.ainvoke(prompt),
    "astream": lambda model, prompt: _all(model.astream(prompt)),
    "astream_events": lambda model, prompt: _all(model.astream_events(prompt, version="v2")),
    "abatch": lambda model, prompt: model.abatch([prompt, "words"]),
    "agenerate": lambda model, prompt: model.agenerate([prompt]),
    "_agenerate": lambda model, prompt: model._agenerate(prompt),
    "_astream": lambda model, prompt: _all(model._astream(prompt)),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", [Provider, Words])
def test_every_call_is_guarded(name: str, kind: Any, pictures: Pictures) -> None:
    inner = kind(answers=[AIMessage("a blue square")])
    CALLS[name](behind(inner), [ask(ASKED), ask(SHOWN)])
    reached = [inner.seen, inner.counted]
    assert raw(reached) == 0
    assert len(pictures(reached)) >= 2
    if name == "get_num_tokens":
        # It sends no answer: what cannot be checked counts as the text in its place.
        CALLS[name](behind(inner), [LINK])
        assert "behind a link" in repr(inner.counted[-1])
        return
    with pytest.raises(ImageRejected):
        CALLS[name](behind(inner), [LINK])


@pytest.mark.parametrize("name", ASYNC)
@pytest.mark.parametrize("kind", [Provider, Words])
async def test_every_awaited_call_is_guarded(name: str, kind: Any, pictures: Pictures) -> None:
    inner = kind(answers=[AIMessage("a blue square")])
    await ASYNC[name](behind(inner), [ask(ASKED), ask(SHOWN)])
    assert raw(inner.seen) == 0
    assert len(pictures(inner.seen)) == 2
    with pytest.raises(ImageRejected):
        await ASYNC[name](behind(inner), [LINK])


@pytest.mark.filterwarnings("ignore:.*in beta")
async def test_typed_events_are_guarded() -> None:
    inner = Provider()
    model = behind(inner)
    if not hasattr(BaseChatModel, "_chat_model_stream_v3"):
        pytest.skip("this langchain-core has no typed events")
    stream = model.stream_events([ask(ASKED)], version="v3")
    assert stream.output.text.strip() == "a blue square"
    events = await model.astream_events([ask(ASKED)], version="v3")
    assert (await events.output).text.strip() == "a blue square"
    assert len(inner.seen) == 2
    assert raw(inner.seen) == 0


def test_a_string_that_is_a_picture_is_guarded() -> None:
    inner = Provider()
    behind(inner).invoke(data_url(ASKED))
    behind(inner).invoke(f"what is {data_url(ASKED)} ?")
    assert len(inner.seen) == 2
    assert raw(inner.seen) == 0


def test_a_stream_has_real_chunks_after_the_guard() -> None:
    order: list[str] = []

    class Timed(Provider):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            for chunk in super()._stream(*args, **kwargs):
                order.append("token")
                yield chunk

    front = red_runnable()
    scan_many = front.guard.detector.scan_many

    def scanning(images: Any) -> Any:
        order.append("scan")
        return scan_many(images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front.guard.detector, "scan_many", scanning)
        stream = (front | Timed()).stream([ask(ASKED)])
        first = next(stream)
        # The model has written one token, not all of them.
        assert (order[0], order[-1], order.count("token")) == ("scan", "token", 1)
        whole = first
        for chunk in stream:
            assert isinstance(chunk, AIMessageChunk)
            whole = whole + chunk
    assert order.count("token") == 4
    assert whole.text == "a blue square "
    assert whole.usage_metadata == USAGE
    assert whole.response_metadata["model_name"] == "provider-1"
    assert len(whole.response_metadata["guardalign"]["verdicts"]) == 1


def test_leaving_a_stream_closes_the_models() -> None:
    closed = []

    class Endless(Provider):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            try:
                while True:
                    yield from super()._stream(*args, **kwargs)
            finally:
                closed.append(True)

    stream: Any = behind(Endless()).stream("words")
    next(stream)
    stream.close()
    assert closed == [True]


async def test_awaited_calls_do_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    front, free = red_runnable(), threading.Event()
    scan_many = front.guard.detector.scan_many

    def waiting(images: Any) -> Any:
        assert free.wait(300)  # only a free loop can set this
        return scan_many(images)

    monkeypatch.setattr(front.guard.detector, "scan_many", waiting)
    for number, call in enumerate(ASYNC.values()):
        free.clear()
        prompt = [ask(picture(red=True, colour=(number, 0, 0)))]
        task = asyncio.ensure_future(call(front | Provider(), prompt))
        await asyncio.sleep(0.01)
        assert not task.done()
        free.set()
        await task


def test_a_batch_is_scanned_together_and_keeps_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    front, inner, counts = red_runnable(), Provider(), []
    sanitize_many = front.guard.sanitize_many
    monkeypatch.setattr(
        front.guard, "sanitize_many", lambda images: counts.append(1) or sanitize_many(images)
    )
    answers = (front | inner).batch(
        [[ask(ASKED)], [LINK], "words", 3, [ask(picture())]], return_exceptions=True
    )
    assert len(counts) == 1  # the guard is asked once for all prompts
    assert [type(answer).__name__ for answer in answers] == [
        "AIMessage",
        "ImageRejected",
        "AIMessage",
        "MessageError",
        "AIMessage",
    ]
    found = [answers[index].response_metadata.get("guardalign") for index in (0, 2, 4)]
    assert [item and item["masked"] for item in found] == [1, None, 0]
    with pytest.raises(ImageRejected):
        (front | inner).batch(["words", [LINK]])


async def test_a_cancelled_batch_stays_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    front, inner = red_runnable(), Provider()

    def cancelled(*_: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr(ImageGuardRunnable, "screen", cancelled)
    with pytest.raises(asyncio.CancelledError):
        await (front | inner).abatch(["words", "words"], return_exceptions=True)
    with pytest.raises(asyncio.CancelledError):
        (front | inner).batch(["words", "words"], return_exceptions=True)
    assert inner.seen == []


def test_a_fault_of_the_guard_is_each_prompts_error(monkeypatch: pytest.MonkeyPatch) -> None:
    front, inner = red_runnable(), Provider()

    def broken(images: Any) -> Any:
        raise GuardError("The guard is broken.", remedy="Mend it.")

    monkeypatch.setattr(front.guard.detector, "scan_many", broken)
    answers = (front | inner).batch([[ask(ASKED)], [ask(SHOWN)]], return_exceptions=True)
    assert [type(answer) for answer in answers] == [GuardError, GuardError]
    assert inner.seen == []


def test_it_has_the_models_settings() -> None:
    profile = {"tool_calling": True, "max_input_tokens": 99}
    inner = Provider(profile=profile)
    model: Any = behind(inner)
    assert model.profile == profile
    assert (model.model_name, model.temperature, model.max_retries) == ("provider-1", 0.5, 4)
    assert model._llm_type == "provider-chat"
    assert model._get_ls_params()["ls_provider"] == "provider"
    assert model._identifying_params["model_name"] == "provider-1"
    assert model.get_num_tokens("one two three") == 3
    assert model.get_token_ids("one two") == [0, 1]
    for hidden in ("client", "seen", "nothing", "_nothing"):
        assert not hasattr(model, hidden)
    with pytest.raises(Down):
        behind(Provider(down=True)).invoke("words")


def test_keywords_reach_the_model() -> None:
    inner = Provider()
    model = behind(inner)
    model.invoke("words", stop=["."], temperature=0)
    model.bind(seed=3).invoke("words")
    list(model.stream("words", stop=["!"]))
    assert inner.keywords == [
        {"stop": ["."], "temperature": 0},
        {"stop": None, "seed": 3},
        {"stop": ["!"]},
    ]


def test_callbacks_see_cleaned_prompts_and_each_token_once() -> None:
    own, given, outer = Seen(), Seen(), Seen()
    model = behind(Provider(callbacks=[own]))
    model.callbacks = [outer]
    run_id = "00000000-0000-4000-8000-000000000001"
    list(
        model.stream([ask(ASKED)], {"callbacks": [given], "run_name": "mine", "run_id": run_id})  # type: ignore[typeddict-item]
    )
    for seen in (own, given, outer):
        assert raw(seen.prompts) == 0
        assert len(seen.prompts) == 1
        assert "".join(seen.tokens) == "a blue square "
        assert (list(map(str, seen.ids)), seen.names) == ([run_id], ["mine"])


async def test_the_models_run_is_the_only_one() -> None:
    prompt, answers = [ask(ASKED)], []
    model = behind(Provider())
    with collect_runs() as runs:
        model.invoke(prompt)
    (run,) = runs.traced_runs
    assert run.run_type in {"llm", "chat_model"}
    assert (run.extra or {})["metadata"]["guardalign_decision"] == "mask"
    assert raw(run.inputs) == 0
    model.with_listeners(on_end=lambda run: answers.append(run.run_type)).invoke(prompt)
    assert len(answers) == 1
    assert answers[0] in {"llm", "chat_model"}
    events = [event async for event in model.astream_events(prompt, version="v2")]
    assert events[0]["event"] == "on_chat_model_start"
    assert events[-1]["event"] == "on_chat_model_end"
    assert sum(event["event"] == "on_chat_model_stream" for event in events) == 4


def test_a_refused_prompt_is_traced_without_it() -> None:
    model = behind(Provider())
    with collect_runs() as runs:
        with pytest.raises(ImageRejected):
            model.invoke([ask(ASKED), LINK])
    (run,) = runs.traced_runs
    assert "ImageRejected" in (run.error or "")
    assert raw([run.inputs, run.outputs, run.error]) == 0


def test_settings_made_on_it_count() -> None:
    inner = Provider(tags=["inner"], metadata={"a": 1})
    limits = []

    class Limiter(InMemoryRateLimiter):
        def acquire(self, *, blocking: bool = True) -> bool:
            limits.append(blocking)
            return True

    model = GuardedChatModel(
        inner, guard=red_guard(), cache=InMemoryCache(), tags=["outer"], metadata={"b": 2}
    )
    model.rate_limiter = Limiter()
    model.disable_streaming = True
    behind_it = model._model()
    assert set(behind_it.tags or ()) == {"inner", "outer"}
    assert {"a": 1, "b": 2}.items() <= (behind_it.metadata or {}).items()
    assert len(list(model.stream("words"))) == 1
    model.invoke("words")
    assert len(inner.seen) == 1  # cached
    assert limits == [True]
    assert inner.cache is None


def test_the_cache_tells_guards_models_and_pictures_apart() -> None:
    cache = InMemoryCache()
    inner = Provider(cache=cache)
    mask, notice = behind(inner), behind(inner, on_unsafe="notice")
    other = behind(Provider(cache=cache, model_name="provider-2"))
    for model in (mask, mask, notice, other):
        assert model.invoke([ask(ASKED)]).response_metadata["guardalign"]["masked"] == 1
    mask.invoke([ask(SHOWN)])
    assert len(inner.seen) == 3
    assert raw(list(cache._cache)) == 0
    keys = {model._get_llm_string() for model in (mask, notice, other)}
    assert len(keys) == 3
    assert mask._get_llm_string() != inner._get_llm_string()
    assert behind(inner)._get_llm_string() == mask._get_llm_string()
    # The answers in the cache stay the model's own.
    (again,) = red_runnable().invoke([ask(SHOWN)])
    fresh = red_runnable().invoke([ask(picture())])
    result = mask.generate([fresh])
    assert result.generations[0][0].message.response_metadata["guardalign"]  # type: ignore[union-attr]
    for prompt in ([again], fresh):
        assert "guardalign" not in inner.invoke(prompt).response_metadata
    assert len(inner.seen) == 4


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_it_is_serialised_where_guard_and_model_are() -> None:
    model = ImageGuardRunnable(preset="mini", on_unsafe="notice") | ChatGuardAlign(preset="mini")
    again = load(
        dumpd(model),
        valid_namespaces=["langchain_guardalign"],
        allowed_objects=[GuardedChatModel, ImageGuardRunnable, ChatGuardAlign],
    )
    assert isinstance(again, GuardedChatModel)
    assert dumpd(again) == dumpd(model)
    assert (again.guard.preset, again.guard.on_unsafe) == ("mini", "notice")
    assert again._get_llm_string() == model._get_llm_string()
    # A loaded guard, or a model that cannot be serialised.
    assert dumpd(behind(ChatGuardAlign(preset="mini")))["type"] == "not_implemented"
    assert dumpd(ImageGuardRunnable(preset="mini") | Provider())["type"] == "not_implemented"


def test_it_is_copied_and_pickled() -> None:
    model = ImageGuardRunnable(preset="mini") | FakeListChatModel(responses=["a", "b"])
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.guard.preset == "mini"
        assert twin.invoke("words").text in {"a", "b"}


def test_a_guard_has_to_be_given() -> None:
    inner = Provider()
    with pytest.raises(ConfigError, match=r'needs a preset or a guard.*preset="mini"'):
        GuardedChatModel(inner)
    with pytest.raises(ConfigError, match="Did you mean 'on_unsafe'"):
        GuardedChatModel(inner, preset="mini", on_unsave="block")
    with pytest.raises(ConfigError, match="model behind the guard"):
        GuardedChatModel(inner, preset="mini", api_key="1")
    with pytest.raises(ConfigError, match="on_unsafe cannot be given beside"):
        GuardedChatModel(inner, guard=red_runnable(), on_unsafe="block")
    for wrong in (None, "gpt", inner.bind(stop=["a"]), red_runnable()):
        with pytest.raises(ConfigError, match="should be a chat model"):
            GuardedChatModel(wrong, preset="mini")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Exactly one of preset and guard"):
        GuardedChatModel(inner, preset="mini", guard=red_guard())
    with pytest.raises(ConfigError, match=r"should be an ImageGuard.*preset="):
        GuardedChatModel(inner, guard="mini")
    with pytest.raises(ConfigError, match=r"should be an ImageGuard.*preset="):
        GuardedChatModel(inner, 3)
    assert GuardedChatModel(inner, "mini").guard.preset == "mini"
    with pytest.raises(TypeError, match="multiple values for argument 'chat_model'"):
        GuardedChatModel(inner, chat_model=Provider(), preset="mini")
    assert GuardedChatModel(inner, red_guard()).invoke([ask(ASKED)])
    assert GuardedChatModel(inner, preset="mini", on_unsafe="block").guard.on_unsafe == "block"
    assert GuardedChatModel(chat_model=inner, guard=red_runnable()).chat_model is inner


def test_configurable_fields_keep_the_guard() -> None:
    a, b = Provider(), Provider()
    model: Any = behind(a).configurable_fields(chat_model=ConfigurableField("which"))
    model.with_config(configurable={"which": b}).invoke([ask(ASKED)])
    assert (len(a.seen), len(b.seen), raw(b.seen)) == (0, 1, 0)
