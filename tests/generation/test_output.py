"""No part of an answer is shown before the hook has seen all of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation import Runner, TokenStream
from guardalign_middleware.generation.output import OutputRunner
from guardalign_middleware.generation.stream import Emit
from guardalign_middleware.testing import EchoRunner, picture, red_guard
from guardalign_middleware.types import Generated, Message
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


def test_the_chain_takes_the_hook() -> None:
    from guardalign_middleware.guard import GuardAlign

    chain = GuardAlign(red_guard(), EchoRunner(), on_output=shout)
    messages: Any = [{"role": "user", "content": [{"type": "image", "image": picture()}, "hi"]}]
    assert chain.invoke(messages).text == "1 ECHO: HI [1 IMAGE]"
    with chain.stream(messages) as pieces:
        assert "".join(piece.text for piece in pieces) == "1 ECHO: HI [1 IMAGE]"
