"""A place for a text guard: every answer passes through a hook before anybody sees it.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Any

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation.awaiting import start_batch
from guardalign_middleware.generation.stream import Emit, Runner, Ticket, TokenStream
from guardalign_middleware.types import Generated, Message

OnOutput = Callable[[Sequence[Message], Generated], Generated]
"""Gets the conversation as the model saw it and the answer; gives the answer to show.

It may return the answer as it is or with another text (`dataclasses.replace(answer, text=…)`), or
raise, which is an error of the call. It is called from several threads.
"""


class OutputRunner:
    """A runner whose answers are those of another one after a hook has seen them.

    An answer is shown in one piece, also by `stream`: before its end nobody can judge it.

    Args:
        runner: makes the answers.
        on_output: sees each of them.
    """

    def __init__(self, runner: Runner, on_output: OnOutput) -> None:
        self.inner = runner
        self._on_output = on_output

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.inner.name

    @property
    def config(self) -> RunnerConfig:
        """How it generates unless a call says otherwise."""
        return self.inner.config

    @property
    def tool_template(self) -> Mapping[str, Any] | None:
        """How the model calls tools; None where it cannot, or nobody knows."""
        template: Mapping[str, Any] | None = getattr(self.inner, "tool_template", None)
        return template

    def generate(self, messages: Sequence[Message], **options: Any) -> Generated:
        """Answer one conversation; keywords and errors are those of the inner runner.

        Raises:
            GuardError: the hook gave something that is no answer.
        """
        return self._checked(messages, self.inner.generate(messages, **options))

    def generate_batch(self, rows: Sequence[Sequence[Message]], **options: Any) -> list[Generated]:
        """Answer several conversations; keywords and errors are those of the inner runner."""
        answers = self.inner.generate_batch(rows, **options)
        return [self._checked(row, answer) for row, answer in zip(rows, answers, strict=True)]

    def stream(self, messages: Sequence[Message], **options: Any) -> TokenStream:
        """Answer one conversation, in one piece; closing the stream stops the inner runner."""
        inner = self.inner.stream(messages, **options).ticket
        return TokenStream.of(lambda emit: self._then_checked(messages, inner, emit))

    def start_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        **options: Any,
    ) -> list[Ticket]:
        """Begin to answer several conversations, as the inner runner does."""
        inner = start_batch(self.inner, rows, prefix=prefix, **options)
        return [self._then_checked(row, ticket) for row, ticket in zip(rows, inner, strict=True)]

    def _then_checked(
        self, messages: Sequence[Message], inner: Ticket, emit: Emit = lambda _: None
    ) -> Ticket:
        """The inner answer once the hook has seen it, in a thread of its own: a hook may block."""

        def work() -> Generated:
            answer = inner.future.result()
            if answer.finish_reason == "cancelled":
                # Nobody judged the beginning of an answer.
                return replace(answer, text="")
            answer = self._checked(messages, answer)
            if answer.text:
                emit(answer.text)
            return answer

        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="guardalign-output")
        ticket = Ticket(executor.submit(copy_context().run, work), inner.cancel)
        executor.shutdown(wait=False)
        return ticket

    def _checked(self, messages: Sequence[Message], answer: Generated) -> Generated:
        checked = self._on_output(messages, answer)
        if not isinstance(checked, Generated):
            raise GuardError(
                f"on_output should return the answer. It gave {type(checked).__name__}.",
                stage="output",
                remedy="Return the answer it was given, or dataclasses.replace(answer, text=…).",
            )
        return checked
