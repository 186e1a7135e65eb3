"""Events and callbacks: once per call, with cleaned images only."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from llama_index.core.callbacks import (
    CallbackManager,
    CBEventType,
    LlamaDebugHandler,
    TokenCountingHandler,
)
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.llms import ChatResponse, ImageBlock
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.mock import MockLLMWithNonyieldingChatStream
from llama_index.core.prompts import PromptTemplate

from guardalign_middleware import notices
from guardalign_middleware.errors import GuardError
from guardalign_middleware.testing import (
    base64_png,
    red_chain,
)
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignMultiModal
from llama_index_support.conversations import (
    BLOCKED,
    GUARD,
    SAFE,
    UNSAFE,
    Make,
    ask,
    image_block,
)
from llama_index_support.doubles import PlainLLM, Says, ToolLLM

STARTS = (LLMChatStartEvent, LLMCompletionStartEvent)
ENDS = (LLMChatEndEvent, LLMCompletionEndEvent)


class Listener(BaseCallbackHandler):
    """Records the events of LLM calls in the older callbacks."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.starts: list[dict[str, Any]] = []
        self.ends: list[dict[str, Any]] = []

    def on_event_start(
        self, event_type: CBEventType, payload: Any = None, *args: Any, **kwargs: Any
    ) -> str:
        if event_type is CBEventType.LLM:
            self.starts.append(payload)
        return "1"

    def on_event_end(
        self, event_type: CBEventType, payload: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        if event_type is CBEventType.LLM:
            self.ends.append(payload)

    def start_trace(self, trace_id: str | None = None) -> None:
        pass

    def end_trace(self, *args: Any, **kwargs: Any) -> None:
        pass


async def drain(answer: Any) -> None:
    """Take a whole answer or every piece of a stream."""
    if inspect.isawaitable(answer):
        answer = await answer
    if inspect.isasyncgen(answer):
        assert [piece async for piece in answer]
    elif inspect.isgenerator(answer):
        assert list(answer)


CHATS = ("chat", "stream_chat", "achat", "astream_chat")
COMPLETIONS = ("complete", "stream_complete", "acomplete", "astream_complete")


@pytest.mark.parametrize("endpoint", CHATS + COMPLETIONS)
async def test_each_endpoint_is_reported_once_and_shows_cleaned_images_only(
    make: Make, endpoint: str, recorder: Any
) -> None:
    subject, listener = make("A square."), Listener()
    subject.llm.callback_manager = CallbackManager([listener])
    call = getattr(subject.llm, endpoint)
    image = image_block(UNSAFE)
    if endpoint in CHATS:
        await drain(call(ask(image)))
    else:
        await drain(call("What is it?", image_documents=[image]))
    assert subject.saw_only_clean_images(1)
    for kinds in (STARTS, ENDS):
        assert len([event for event in recorder.events if type(event) in kinds]) == 1
    assert not recorder.holds(base64_png(UNSAFE))
    (start,), (end,) = listener.starts, listener.ends
    shown = [block for message in start.get("messages", ()) for block in message.blocks]
    assert all(block.image != image.image for block in shown if isinstance(block, ImageBlock))
    answer = end.get("response") or end["completion"]
    assert "A square." in str(answer)
    assert base64_png(UNSAFE) not in answer.model_dump_json(fallback=repr)


@pytest.mark.parametrize("endpoint", COMPLETIONS)
async def test_a_prompt_may_be_named_and_is_needed_once(make: Make, endpoint: str) -> None:
    call = getattr(make("A square.").llm, endpoint)
    await drain(call(prompt="What is it?"))
    with pytest.raises(TypeError):
        await drain(call("What is it?", prompt="What is it?"))
    with pytest.raises(TypeError):
        await drain(call())


async def test_a_stream_that_says_nothing_ends() -> None:
    llm = GuardAlignGuardedLLM(llm=MockLLMWithNonyieldingChatStream(), guard=GUARD)
    assert list(llm.stream_chat(ask())) == []
    assert [piece async for piece in await llm.astream_chat(ask())] == []


def test_a_fault_ends_what_was_started(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, listener = make("A square."), Listener()
    subject.llm.callback_manager = CallbackManager([listener])

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("no memory")

    for name in ("_next", "generate"):
        monkeypatch.setattr(type(subject.model), name, fail, raising=False)
    with pytest.raises((OSError, GuardError)):
        subject.llm.chat(ask())
    assert len(listener.starts) == len(listener.ends) == 1


def test_the_payload_of_events_names_the_model_and_nothing_private(
    make: Make, recorder: Any
) -> None:
    subject = make("A square.")
    subject.llm.fetch = print
    subject.llm.chat(ask())
    (start,) = recorder.of(LLMChatStartEvent)
    assert start.model_dict["model_name"] in {"red", "plain"}
    assert start.model_dict["is_chat_model"]
    assert not {"fetch", "preset", "llm", "guard", "chain"} & set(start.model_dict)


def test_a_token_counting_handler_counts_tokens(make: Make) -> None:
    subject = make("A square.")
    counter = TokenCountingHandler(tokenizer=str.split)
    subject.llm.callback_manager = CallbackManager([counter])
    subject.llm.chat(ask())
    assert counter.total_llm_token_count > 0


ENDPOINTS: dict[str, Any] = {
    "chat": lambda llm: llm.chat(ask(image_block(SAFE))),
    "stream_chat": lambda llm: list(llm.stream_chat(ask(image_block(SAFE))))[-1],
    "complete": lambda llm: llm.complete("What is it?", image_documents=[image_block(SAFE)]),
    "stream_complete": lambda llm: list(
        llm.stream_complete("What is it?", image_documents=[image_block(SAFE)])
    )[-1],
}


@pytest.mark.parametrize("call", ENDPOINTS.values(), ids=ENDPOINTS)
def test_a_local_models_token_counts_are_its_own(call: Any) -> None:
    def estimate(text: str) -> list[int]:
        raise AssertionError("an estimate")

    counter = TokenCountingHandler(tokenizer=estimate)
    chain = red_chain(runner=Says("A square."))
    llm = GuardAlignMultiModal(chain, callback_manager=CallbackManager([counter]))
    usage = call(llm).raw["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert counter.prompt_llm_token_count == usage["prompt_tokens"] > 0
    assert counter.completion_llm_token_count == usage["completion_tokens"] > 0


class Counts(PlainLLM):
    """Reports its usage, as providers do."""

    @llm_chat_callback()
    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        usage = {"prompt_tokens": 1234, "completion_tokens": 56}
        return ChatResponse(message=self._next(messages, kwargs), raw={"usage": usage})


def test_an_inner_llms_token_counts_stay_its_own() -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    llm = GuardAlignGuardedLLM(Counts(), GUARD, callback_manager=CallbackManager([counter]))
    response = llm.chat(ask(image_block(UNSAFE)))
    assert response.raw["usage"] == {"prompt_tokens": 1234, "completion_tokens": 56}
    assert counter.prompt_llm_token_count == 1234
    assert counter.completion_llm_token_count == 56


def test_events_are_the_inner_llms_once_and_hold_no_raw_image(
    llm: GuardAlignGuardedLLM, recorder: Any
) -> None:
    messages = ask(image_block(UNSAFE))
    llm.chat(messages)
    list(llm.stream_chat(messages))
    assert len(recorder.of(LLMChatStartEvent)) == len(recorder.of(LLMChatEndEvent)) == 2
    llm.complete("Hello?")
    list(llm.stream_complete("Hello?"))
    assert len(recorder.of(LLMCompletionStartEvent)) == 2
    assert len(recorder.of(LLMCompletionEndEvent)) == 2
    assert recorder.of(LLMChatStartEvent)[0].model_dict["class_name"] == "plain"
    assert not recorder.holds(base64_png(UNSAFE))


async def test_events_of_tool_calls_and_of_blocked_images_come_once(recorder: Any) -> None:
    llm: Any = GuardAlignGuardedLLM(llm=ToolLLM(), guard=GUARD)
    llm.chat_with_tools([], chat_history=ask(image_block(UNSAFE)))
    await llm.achat(ask(image_block(UNSAFE)))
    llm.chat(ask(image_block(BLOCKED)))
    await llm.achat_with_tools([], chat_history=ask(image_block(BLOCKED)))
    starts = recorder.of(LLMChatStartEvent)
    assert len(starts) == len(recorder.of(LLMChatEndEvent)) == 4
    assert notices.UNSAFE in starts[2].messages[0].content
    assert not recorder.holds(base64_png(UNSAFE))
    assert not recorder.holds(base64_png(BLOCKED))


def test_listeners_get_the_inner_llms_events(inner: Any) -> None:
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD)
    assert llm.callback_manager is inner.callback_manager
    handler = LlamaDebugHandler(print_trace_on_end=False)
    llm.callback_manager = CallbackManager([handler])
    llm.chat(ask())
    assert len(handler.get_llm_inputs_outputs()) == 1


def test_prompts_of_the_inner_llm_hold_outside() -> None:
    inner = PlainLLM(system_prompt="Be brief.")
    GuardAlignGuardedLLM(llm=inner, guard=GUARD).predict(PromptTemplate("Hello?"))
    assert [message.content for message in inner.calls[0]] == ["Be brief.", "Hello?"]
