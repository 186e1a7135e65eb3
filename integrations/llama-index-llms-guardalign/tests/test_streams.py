"""Streams and async calls: they start at once, do not block, and stop when dropped."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from guardalign_middleware.generation import TokenStream
from guardalign_middleware.replies import Generated
from guardalign_middleware.testing import BarrierRunner, EchoRunner, red_chain
from guardalign_middleware.types import Message
from llama_index.llms.guardalign import GuardAlignMultiModal
from llama_index_support.conversations import UNSAFE, ask, image_block
from llama_index_support.doubles import Held, beside


class Endless(EchoRunner):
    """Says a word every millisecond until it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = threading.Event()

    def stream(self, messages: Sequence[Message], **options: Any) -> TokenStream:
        answer = self.generate(messages)

        def produce(emit: Any, cancel: threading.Event) -> Generated:
            while not cancel.wait(0.001):
                emit("word ")
            self.stopped.set()
            return replace(answer, finish_reason="cancelled")

        return TokenStream(produce)


@pytest.fixture
def runner() -> Endless:
    return Endless()


@pytest.fixture
def llm(runner: Endless) -> GuardAlignMultiModal:
    return GuardAlignMultiModal(chain=red_chain(runner=runner))


def test_a_message_grows_by_each_delta(llm: GuardAlignMultiModal) -> None:
    stream: Any = llm.stream_chat(ask())
    pieces = [next(stream) for _ in range(3)]
    stream.close()
    assert [piece.delta for piece in pieces] == ["word "] * 3
    assert [piece.message.content for piece in pieces] == ["word ", "word " * 2, "word " * 3]


@pytest.mark.parametrize("endpoint", ["stream_chat", "stream_complete"])
@pytest.mark.parametrize("started", [False, True])
def test_dropping_a_stream_stops_the_generation(
    llm: GuardAlignMultiModal, runner: Endless, endpoint: str, started: bool
) -> None:
    stream = llm.stream_chat(ask()) if endpoint == "stream_chat" else llm.stream_complete("What?")
    if started:
        assert next(stream).delta
    assert not runner.stopped.is_set()
    del stream
    gc.collect()
    assert runner.stopped.wait(300)


@pytest.mark.parametrize("endpoint", ["astream_chat", "astream_complete"])
async def test_leaving_an_async_stream_stops_the_generation(
    llm: GuardAlignMultiModal, runner: Endless, endpoint: str
) -> None:
    if endpoint == "astream_chat":
        stream: Any = await llm.astream_chat(ask())
    else:
        stream = await llm.astream_complete("What?")
    async for piece in stream:
        assert piece.delta
        break
    assert not runner.stopped.is_set()
    await stream.aclose()
    assert await asyncio.to_thread(runner.stopped.wait, 300)


@pytest.mark.parametrize("endpoint", ["achat", "acomplete"])
async def test_cancelling_a_call_stops_the_generation(
    llm: GuardAlignMultiModal, runner: Endless, endpoint: str
) -> None:
    call = llm.achat(ask()) if endpoint == "achat" else llm.acomplete("What?")
    task = asyncio.create_task(call)
    while not runner.calls:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(runner.stopped.wait, 300)


@pytest.mark.parametrize("endpoint", ["achat", "acomplete", "astream_chat", "astream_complete"])
async def test_the_event_loop_runs_on_while_the_guard_and_the_model_work(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = EchoRunner()
    chain = red_chain(runner=runner)
    guarding, answering = Held(chain.guard.sanitize_many), Held(runner.generate)
    monkeypatch.setattr(chain.guard, "sanitize_many", guarding)
    monkeypatch.setattr(runner, "generate", answering)
    llm = GuardAlignMultiModal(chain=chain)
    image = image_block(UNSAFE)

    async def call() -> None:
        if "chat" in endpoint:
            answer = await getattr(llm, endpoint)(ask(image))
        else:
            answer = await getattr(llm, endpoint)("What?", image_documents=[image])
        if endpoint.startswith("astream"):
            assert [piece async for piece in answer]

    await beside(call(), guarding, answering)
    assert len(runner.calls) == 1


@pytest.mark.parametrize("endpoint", ["achat", "acomplete", "astream_chat", "astream_complete"])
async def test_sixteen_callers_wait_at_once_however_few_threads_there_are(endpoint: str) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    runner = BarrierRunner(16)
    llm = GuardAlignMultiModal(chain=red_chain(runner=runner))

    async def call() -> str:
        given: Any = ask() if "chat" in endpoint else "What is it?"
        answer: Any = await getattr(llm, endpoint)(given)
        if endpoint.startswith("astream"):
            answer = [piece async for piece in answer][-1]
        return str(answer)

    calls = []
    for number in range(1, 17):
        # One after another, so a caller that waits in a thread would keep it from the next.
        calls.append(asyncio.create_task(call()))
        async with asyncio.timeout(300):
            while len(runner.calls) < number:
                await asyncio.sleep(0.01)
    answers = await asyncio.gather(*calls)
    assert all("What is it?" in answer for answer in answers)
