"""Tasks that wait for the model block no thread, so all share one pass even with few threads."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from torch import Tensor

from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.awaiting import agenerate_batch, start_batch
from guardalign_middleware.generation.engine import inference as inference_module
from guardalign_middleware.generation.engine.decoding import NextTokens
from guardalign_middleware.generation.output import OutputRunner
from guardalign_middleware.generation.stream import Ticket, TokenStream
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.replies import CalibrationReport, Generated, Usage
from guardalign_middleware.testing import EchoRunner, red_guard
from guardalign_middleware.types import Message
from tests.support.messages import picture, user

CALLERS = 16
SECONDS = 300
DONE = Generated("ab", "stop", CalibrationReport("off", prefix=False), Usage(1, 2))


class Gate:
    """Blocks the model before a pass, and counts the rows of each pass."""

    def __init__(self, runner: CalibratedRunner) -> None:
        self.sizes: list[int] = []
        self.free = threading.Event()
        self.entered = threading.Event()
        self._answer = runner._service._generate

    def __call__(self, jobs: Sequence[Any]) -> None:
        self.sizes.append(len(jobs))
        self.entered.set()
        assert self.free.wait(SECONDS)
        self._answer(jobs)


@pytest.fixture
def own_runner(make_runner: Callable[..., CalibratedRunner]) -> CalibratedRunner:
    return make_runner(max_new_tokens=3)


@pytest.fixture(scope="module")
def questions() -> list[list[Message]]:
    return [[user(picture(i), f"What is {i}?")] for i in range(CALLERS)]


@pytest.fixture(scope="module")
def answered_alone(
    make_runner: Callable[..., CalibratedRunner], questions: list[list[Message]]
) -> list[str]:
    chain = GuardAlign(red_guard(), make_runner(max_new_tokens=3))
    return [chain.invoke(question).text for question in questions]


@pytest.fixture
def gate(own_runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(own_runner)
    monkeypatch.setattr(own_runner._service, "_generate", gate)
    yield gate
    gate.free.set()


def two_threads() -> None:
    """A default executor smaller than that of any real machine."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def _streamed(chain: GuardAlign, messages: list[Message]) -> str:
    return "".join([chunk.text async for chunk in chain.astream(messages)])


async def _invoked(chain: GuardAlign, messages: list[Message]) -> str:
    return (await chain.ainvoke(messages)).text


async def _batched(chain: GuardAlign, messages: list[Message]) -> str:
    return (await chain.abatch([messages]))[0].text


async def _finished(chain: GuardAlign, messages: list[Message]) -> str:
    prompt = await asyncio.to_thread(chain.prepare, messages)
    return (await (await asyncio.to_thread(chain.stream_reply, prompt)).afinish()).text


Ask = Callable[[GuardAlign, list[Message]], Awaitable[str]]
WAYS: list[Ask] = [_invoked, _batched, _streamed, _finished]


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("hooked", [False, True])
async def test_as_many_tasks_as_a_pass_has_rows_share_it(
    own_runner: CalibratedRunner,
    gate: Gate,
    questions: list[list[Message]],
    answered_alone: list[str],
    ask: Ask,
    hooked: bool,
) -> None:
    two_threads()
    hook = (lambda messages, answer: answer) if hooked else None
    chain = GuardAlign(red_guard(), own_runner, on_output=hook)
    first = asyncio.ensure_future(ask(chain, [user("first")]))
    await until(gate.entered.is_set)
    rest: list[asyncio.Future[str]] = []
    for question in questions:
        # One after another, so a caller that blocks a thread would keep it from the next.
        rest.append(asyncio.ensure_future(ask(chain, question)))
        await until(lambda: len(own_runner._service._queue) == len(rest))
    gate.free.set()
    assert await asyncio.gather(*rest) == answered_alone
    assert await first
    assert gate.sizes == [1, CALLERS]


async def test_a_batch_is_begun_as_one(own_runner: CalibratedRunner, gate: Gate) -> None:
    chain = GuardAlign(red_guard(), own_runner)
    questions = [f"What is {i}?" for i in range(20)]
    gate.free.set()
    expected = chain.batch(questions)
    gate.sizes.clear()
    assert await chain.abatch(questions) == expected
    assert gate.sizes == [16, 4]


async def test_a_batch_larger_than_the_queue_is_answered(
    make_runner: Callable[..., CalibratedRunner],
) -> None:
    runner = make_runner(max_new_tokens=2, max_queue=3)
    rows = [[user(f"What is {i}?")] for i in range(7)]
    assert await agenerate_batch(runner, rows) == runner.generate_batch(rows)


@pytest.mark.parametrize("ask", WAYS)
async def test_a_cancelled_task_stops_within_two_tokens(
    own_runner: CalibratedRunner, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[bool] = []
    left = threading.Event()
    tokens = threading.Semaphore(0)

    class Slow(NextTokens):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            # Token by token, so the test can count those after the cancellation.
            assert tokens.acquire(timeout=SECONDS)
            steps.append(left.is_set())
            return super().__call__(input_ids, scores)

    def stop(job: Any) -> None:
        cancel(job)
        stopped.set()

    stopped, cancel = threading.Event(), own_runner._service.cancel
    monkeypatch.setattr(own_runner._service, "cancel", stop)
    monkeypatch.setattr(inference_module, "NextTokens", Slow)
    longer = own_runner.config.model_copy(update={"max_new_tokens": 200})
    monkeypatch.setattr(own_runner._requests, "config", longer)
    task = asyncio.ensure_future(ask(GuardAlign(red_guard(), own_runner), [user("go")]))
    tokens.release(5)
    await until(lambda: len(steps) == 5)
    left.set()
    task.cancel()
    # The event loop has to deliver it first, however busy the machine is.
    await until(stopped.is_set)
    tokens.release(1000)
    with pytest.raises(asyncio.CancelledError):
        await task
    # One token may have been under way.
    assert sum(steps) <= 2
    monkeypatch.undo()
    assert own_runner.generate([user("Hello")]).usage.output_tokens > 0


async def test_a_task_that_is_cancelled_while_it_waits_costs_the_model_nothing(
    own_runner: CalibratedRunner, gate: Gate
) -> None:
    chain = GuardAlign(red_guard(), own_runner)
    first = asyncio.ensure_future(chain.ainvoke("first"))
    await until(gate.entered.is_set)
    tasks = [asyncio.ensure_future(chain.ainvoke(f"What is {i}?")) for i in range(4)]
    await until(lambda: len(own_runner._service._queue) == 4)
    tasks[1].cancel()
    await until(lambda: len(own_runner._service._queue) == 3)
    gate.free.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [
        False,
        True,
        False,
        False,
    ]
    await first
    assert gate.sizes == [1, 3]


async def test_a_task_that_is_cancelled_while_its_prompt_is_made_leaves_nothing_behind(
    own_runner: CalibratedRunner, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding, go_on = threading.Event(), threading.Event()
    encode = own_runner._requests.encode

    def slow(*args: Any, **settings: Any) -> Any:
        encoding.set()
        assert go_on.wait(SECONDS)
        return encode(*args, **settings)

    submitted: list[Any] = []
    submit = own_runner._service.submit

    def counted(jobs: Sequence[Any]) -> None:
        submit(jobs)
        submitted.extend(jobs)

    monkeypatch.setattr(own_runner._requests, "encode", slow)
    monkeypatch.setattr(own_runner._service, "submit", counted)
    held = own_runner._service
    task = asyncio.ensure_future(GuardAlign(red_guard(), own_runner).ainvoke("go"))
    await until(encoding.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await until(lambda: bool(submitted))
    gate.free.set()
    reply = await asyncio.to_thread(submitted[0].future.result, SECONDS)
    assert reply.finish_reason == "cancelled"
    assert len(held._queue) == 0


async def test_an_error_in_one_is_an_error_of_all_and_stops_the_others() -> None:
    class Some(EchoRunner):
        stopped = 0

        def stream(self, messages: Sequence[Message], **options: Any) -> TokenStream:
            def produce(emit: Any, cancel: threading.Event) -> Generated:
                if messages[-1].text == "bad":
                    raise GuardError("Bad.", stage="generation")
                assert cancel.wait(SECONDS)
                self.stopped += 1
                return DONE

            return TokenStream(produce)

    runner = Some()
    with pytest.raises(GuardError, match="Bad"):
        await agenerate_batch(runner, [[user("bad")], [user("x")], [user("y")]])
    assert runner.stopped == 2


class TestStream:
    async def test_pieces_come_in_order_and_then_the_end(self) -> None:
        go_on = threading.Event()

        def work(emit: Any, cancel: threading.Event) -> Generated:
            emit("a")
            assert go_on.wait(SECONDS)
            emit("b")
            return DONE

        stream = TokenStream(work)
        assert await anext(stream) == "a"
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        go_on.set()
        assert await waiting == "b"
        assert [piece async for piece in stream] == []
        assert [piece async for piece in stream] == []
        assert stream.result is DONE

    async def test_a_reader_that_gives_up_misses_nothing(self) -> None:
        go_on = threading.Event()

        def work(emit: Any, cancel: threading.Event) -> Generated:
            assert go_on.wait(SECONDS)
            emit("a")
            return DONE

        stream = TokenStream(work)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.02)
        go_on.set()
        assert [piece async for piece in stream] == ["a"]

    async def test_an_error_comes_after_the_pieces(self) -> None:
        def work(emit: Any, cancel: threading.Event) -> Generated:
            emit("a")
            raise ZeroDivisionError

        stream = TokenStream(work)
        assert await anext(stream) == "a"
        with pytest.raises(ZeroDivisionError):
            await anext(stream)
        with pytest.raises(ZeroDivisionError):
            await TokenStream(work).aresult()

    async def test_closing_stops_the_work_and_keeps_its_result(self) -> None:
        def work(emit: Any, cancel: threading.Event) -> Generated:
            assert cancel.wait(SECONDS)
            return DONE

        stream = TokenStream(work)
        await stream.aclose()
        assert stream.result is DONE
        assert [piece async for piece in stream] == []


async def test_waiting_leaves_the_work_alone_and_dropping_stops_it() -> None:
    future: Future[Generated] = Future()
    stopped = threading.Event()
    ticket = Ticket(future, stopped.set)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ticket.ended(), 0.02)
    assert not future.cancelled()
    assert not stopped.is_set()
    future.set_result(DONE)
    await ticket.ended()
    del ticket
    gc.collect()
    assert stopped.is_set()


def test_any_runner_can_be_begun() -> None:
    for runner in (EchoRunner(), OutputRunner(EchoRunner(), lambda messages, answer: answer)):
        tickets = start_batch(runner, [[user("a")], [user("b")]], prefix=[True, False])
        answers = [ticket.future.result(SECONDS) for ticket in tickets]
        assert [answer.text for answer in answers] == ["echo: a", "echo: b"]
        assert [answer.calibration.prefix for answer in answers] == [True, False]
