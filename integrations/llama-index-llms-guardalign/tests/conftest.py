"""Fixtures: our LLMs around doubles, and a listener to LlamaIndex's events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.llms import ChatMessage

from guardalign_middleware.testing import red_chain
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignMultiModal
from llama_index_support.conversations import GUARD, Make
from llama_index_support.doubles import PlainLLM, Recorder, Says, Subject


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    handler = Recorder()
    root = get_dispatcher()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.fixture
def loop_of_sync_calls() -> Iterator[None]:
    """LlamaIndex's `Memory` runs synchronous calls on the thread's loop, and leaves it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
    asyncio.set_event_loop_policy(None)


@pytest.fixture
def inner() -> PlainLLM:
    """An LLM of a provider."""
    return PlainLLM()


@pytest.fixture
def llm(inner: PlainLLM) -> GuardAlignGuardedLLM:
    """The guard in front of `inner`."""
    return GuardAlignGuardedLLM(llm=inner, guard=GUARD)


@pytest.fixture(params=["local", "guarded"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes one of our LLMs that always answers with the same text.

    `local` is `GuardAlignMultiModal`, `guarded` is `GuardAlignGuardedLLM` around a `PlainLLM`.
    """

    def subject(text: str) -> Subject:
        if request.param == "local":
            runner = Says(text)
            # LlamaIndex counts 2125 tokens for an image, and packs prompts by that.
            llm = GuardAlignMultiModal(chain=red_chain(runner=runner), context_window=20_000)
            return Subject(llm, runner)
        inner = PlainLLM(script=[ChatMessage(role="assistant", content=text)] * 9)
        return Subject(GuardAlignGuardedLLM(llm=inner, guard=GUARD), inner)

    return subject
