"""No part of an answer is shown before the hook has seen all of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest

from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation import Runner, TokenStream
from guardalign_middleware.generation.output import HOOK_THREADS, OutputRunner
from guardalign_middleware.generation.stream import Emit, Ticket
from guardalign_middleware.provenance import Provenance
from guardalign_middleware.replies import Generated
from guardalign_middleware.testing import EchoRunner, picture, red_guard
from guardalign_middleware.types import Message
from tests.support.messages import user


def shout(messages: Sequence[Message], answer: Generated) -> Generated:
    """Shows that both the conversation and the answer arrive."""
    return replace(answer, text=f"{len(messages)} {answer.text.upper()}")


def test_every_way_of_asking_passes_through_the_hook() -> None:
    runner: Runner = OutputRunner(EchoRunner(), shout)
    assert (runner.name, runner.config.model) == ("echo", "echo")
    row = [user("hello you")]
    expected = "1 ECHO: HELLO YOU"
    assert runner.generate(row).text == expected
    assert [a.text for a in runner.generate_batch([row, row], prefix=[True, False])] == [
        expected,
        expected,
    ]
    stream = runner.stream(row, max_new_tokens=9)
    assert list(stream) == [expected]
    assert stream.result.text == expected


def test_what_the_model_is_stays_known_behind_the_hook() -> None:
    class Local(EchoRunner):
        provenance = Provenance("echo", None, ())
        max_input_tokens = 512
        attention = "not listed"

        def token_ids(self, text: str) -> list[int]:
            return [len(word) for word in text.split()]

    hooked: Any = OutputRunner(Local(), shout)
    assert (hooked.provenance, hooked.max_input_tokens) == (Local.provenance, 512)
    assert hooked.token_ids("a red car") == [1, 3, 3]
    for missing in ("count_tokens", "attention", "calls"):
        assert not hasattr(hooked, missing)


def test_an_answer_that_was_emptied_streams_nothing() -> None:
    runner = OutputRunner(EchoRunner(), lambda _, answer: replace(answer, text=""))
    stream = runner.stream([user("hello")])
    assert list(stream) == []
    assert stream.result.text == ""


def test_an_error_of_the_hook_is_an_error_of_the_call() -> None:
    def refuse(messages: Sequence[Message], answer: Generated) -> Generated:
        raise GuardError("not this", stage="output")

    runner = OutputRunner(EchoRunner(), refuse)
    with pytest.raises(GuardError, match="not this"):
        runner.generate([user("hello")])
    with pytest.raises(GuardError, match="not this"):
        list(runner.stream([user("hello")]))


def test_a_hook_that_forgets_to_return_fails_closed() -> None:
    forgetful: Any = lambda messages, answer: None  # noqa: E731
    with pytest.raises(GuardError, match="gave NoneType"):
        OutputRunner(EchoRunner(), forgetful).generate([user("hello")])


class Endless(EchoRunner):
    """Streams until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = threading.Event()

    def stream(self, messages: Sequence[Message], **options: Any) -> TokenStream:
        answer = self.generate(messages)

        def produce(emit: Emit, cancel: threading.Event) -> Generated:
            while not cancel.wait(0.001):
                emit("x")
            self.stopped.set()
            return replace(answer, text="xxx", finish_reason="cancelled")

        return TokenStream(produce)


def test_leaving_the_stream_stops_the_inner_runner_and_shows_nothing() -> None:
    inner = Endless()
    seen: list[Generated] = []
    runner = OutputRunner(inner, lambda _, answer: seen.append(answer) or answer)  # type: ignore[func-returns-value]
    with runner.stream([user("hello")]) as stream:
        pass
    assert inner.stopped.is_set()
    assert (stream.result.text, stream.result.finish_reason) == ("", "cancelled")
    assert seen == []
    stream = runner.stream([user("hello")])
    inner.stopped.clear()
    del stream
    assert inner.stopped.wait(300)


class Waiting(EchoRunner):
    """Starts answers that come when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.futures: list[Future[Generated]] = []

    def start_batch(self, rows: Sequence[Sequence[Message]], **options: Any) -> list[Ticket]:
        made: list[Future[Generated]] = [Future() for _ in rows]
        self.futures += made
        return [Ticket(future, lambda: None) for future in made]


def test_requests_that_wait_have_no_thread_of_their_own() -> None:
    inner = Waiting()
    runner = OutputRunner(inner, shout)
    rows = [[user(f"hello {number}")] for number in range(200)]
    before = threading.active_count()
    tickets = runner.start_batch(rows)
    assert threading.active_count() <= before
    for future, row in zip(inner.futures, rows, strict=True):
        future.set_result(inner.generate(row))
    answers = [ticket.future.result(300).text for ticket in tickets]
    assert answers == [f"1 ECHO: HELLO {number}" for number in range(200)]
    assert threading.active_count() <= before + HOOK_THREADS


def test_a_hook_that_blocks_keeps_no_other_answer_back() -> None:
    inner, go_on = Waiting(), threading.Event()

    def slow(messages: Sequence[Message], answer: Generated) -> Generated:
        assert "slow" not in answer.text or go_on.wait(300)
        return answer

    runner = OutputRunner(inner, slow)
    rows = [[user("slow")], [user("quick")]]
    first, second = runner.start_batch(rows)
    for future, row in zip(inner.futures, rows, strict=True):
        future.set_result(inner.generate(row))
    assert second.future.result(300).text == "echo: quick"
    assert not first.future.done()
    # Nor can a caller cancel what is being judged.
    assert not first.future.cancel()
    go_on.set()
    assert first.future.result(300).text == "echo: slow"


def test_the_hook_runs_in_the_context_of_its_request() -> None:
    who: ContextVar[str] = ContextVar("who")
    inner = Waiting()
    runner = OutputRunner(inner, lambda _, answer: replace(answer, text=who.get()))
    tickets = []
    for name in ("ada", "bob"):
        who.set(name)
        tickets += runner.start_batch([[user("hello")]])
    for future in inner.futures:
        future.set_result(inner.generate([user("hello")]))
    assert [ticket.future.result(300).text for ticket in tickets] == ["ada", "bob"]


def test_the_chain_takes_the_hook() -> None:
    from guardalign_middleware.guard import GuardAlign

    chain = GuardAlign(red_guard(), EchoRunner(), on_output=shout)
    messages: Any = [{"role": "user", "content": [{"type": "image", "image": picture()}, "hi"]}]
    assert chain.invoke(messages).text == "1 ECHO: HI [1 IMAGE]"
    with chain.stream(messages) as pieces:
        assert "".join(piece.text for piece in pieces) == "1 ECHO: HI [1 IMAGE]"
