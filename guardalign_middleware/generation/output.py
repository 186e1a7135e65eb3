"""A hook for a text guard: it gets every answer before the caller does. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Any, Protocol, Unpack, runtime_checkable
from uuid import uuid4

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation.awaiting import start_batch
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.generation.stream import Emit, Runner, Ticket, TokenStream
from guardalign_middleware.replies import Generated
from guardalign_middleware.types import Message

OnOutput = Callable[[Sequence[Message], Generated], Generated]
"""Takes the conversation as the model saw it and the answer; returns the answer to show.

It may return the answer unchanged or with another text (`dataclasses.replace(answer, text=…)`), or
raise, which makes the call fail. It is called from several threads, of streams and batches from at
most `HOOK_THREADS`.

It may have an attribute `fingerprint`, a string that says what it depends on, such as its version.
Caches share answers between hooks of one fingerprint; a hook without one shares its answers with no
other hook and no other process.
"""

HOOK_THREADS = 32

_OF_THE_MODEL = frozenset({"count_tokens", "max_input_tokens", "provenance", "token_ids"})
"""What a runner may tell of its model. Whatever answers is not listed: it would avoid the hook."""


@runtime_checkable
class ChecksLength(Protocol):
    """A runner that can refuse a prompt before its pictures are decoded."""

    def check_length(self, texts: Sequence[str], pictures: int, others: int) -> None:
        """Raise `ContextOverflow` for a prompt that the model certainly cannot read."""


class OutputRunner:
    """A runner that passes every answer of another runner through a hook.

    `stream` gives the answer in one piece, because it cannot be judged before it is complete.

    Args:
        runner: makes the answers.
        on_output: is called with each of them.
    """

    def __init__(self, runner: Runner, on_output: OnOutput) -> None:
        self.inner = runner
        self._on_output = on_output
        told: object = getattr(on_output, "fingerprint", None)
        self._hook = told if isinstance(told, str) else uuid4().hex
        # Threads start when answers are ready, not when requests are: requests that wait have none.
        self._hooks = ThreadPoolExecutor(HOOK_THREADS, thread_name_prefix="guardalign-output")

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.inner.name

    @property
    def config(self) -> RunnerConfig:
        """Defaults of every call."""
        return self.inner.config

    @property
    def tool_template(self) -> Mapping[str, Any] | None:
        """How the model writes tool calls; None if it cannot call any, or in an unknown format."""
        template: Mapping[str, Any] | None = getattr(self.inner, "tool_template", None)
        return template

    @property
    def fingerprint(self) -> str:
        """That of the inner runner, if it has one that is a text, and that of the hook."""
        told: object = getattr(self.inner, "fingerprint", None)
        return json.dumps([told if isinstance(told, str) else None, self._hook])

    def __getattr__(self, name: str) -> Any:
        """What the inner runner tells of its model, if it does."""
        if name in _OF_THE_MODEL:
            return getattr(self.inner, name)
        raise AttributeError(f"{type(self).__name__} has no {name}.", name=name, obj=self)

    def check_length(self, texts: Sequence[str], pictures: int, others: int) -> None:
        """As the inner runner does, if it does."""
        if isinstance(self.inner, ChecksLength):
            self.inner.check_length(texts, pictures, others)

    def generate(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> Generated:
        """Answer one conversation; keywords and errors are those of the inner runner.

        Raises:
            GuardError: the hook returned something other than an answer.
        """
        answer = self.inner.generate(messages, prefix=prefix, calibrate=calibrate, **options)
        return self._judged(messages, answer)

    def generate_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> list[Generated]:
        """Answer several conversations; keywords and errors are those of the inner runner."""
        answers = self.inner.generate_batch(rows, prefix=prefix, calibrate=calibrate, **options)
        return [self._judged(row, answer) for row, answer in zip(rows, answers, strict=True)]

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> TokenStream:
        """Answer one conversation, in one piece; closing the stream stops the inner runner."""
        inner = self.inner.stream(messages, prefix=prefix, calibrate=calibrate, **options).ticket
        return TokenStream.of(lambda emit: self._after_hook(messages, inner, emit))

    def start_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> list[Ticket]:
        """Start answering several conversations, as the inner runner does."""
        inner = start_batch(self.inner, rows, prefix=prefix, calibrate=calibrate, **options)
        return [self._after_hook(row, ticket) for row, ticket in zip(rows, inner, strict=True)]

    def _after_hook(
        self, messages: Sequence[Message], inner: Ticket, emit: Emit = lambda _: None
    ) -> Ticket:
        """The inner answer after the hook, which may block and so runs in a thread of its own."""
        outcome: Future[Generated] = Future()
        outcome.set_running_or_notify_cancel()

        def judge() -> Generated:
            answer = inner.future.result()
            if answer.finish_reason == "cancelled":
                # An incomplete answer was not judged, so none of it is shown.
                return replace(answer, text="")
            answer = self._judged(messages, answer)
            if answer.text:
                emit(answer.text)
            return answer

        def judged(done: Future[Generated]) -> None:
            error = done.exception()
            if error is None:
                outcome.set_result(done.result())
            else:
                outcome.set_exception(error)

        hooks, context = self._hooks, copy_context()

        def answered(_: Future[Generated]) -> None:
            try:
                hooks.submit(context.run, judge).add_done_callback(judged)
            except RuntimeError as error:
                outcome.set_exception(_no_thread(error))

        inner.future.add_done_callback(answered)
        # The inner ticket lives as long as this one: dropping it would stop the answer.
        return Ticket(outcome, lambda: inner.cancel())

    def _judged(self, messages: Sequence[Message], answer: Generated) -> Generated:
        judged = self._on_output(messages, answer)
        if not isinstance(judged, Generated):
            raise GuardError(
                f"on_output should return the answer. It gave {type(judged).__name__}.",
                stage="output",
                remedy="Return the answer unchanged, or dataclasses.replace(answer, text=…).",
            )
        return judged


def _no_thread(error: RuntimeError) -> GuardError:
    return GuardError(
        f"on_output got no thread to run in: {error}.",
        stage="output",
        remedy="Wait for all answers before the interpreter exits.",
    )
