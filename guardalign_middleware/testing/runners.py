"""Runners without a model: one that echoes, one that waits for company."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import MessageError
from guardalign_middleware.generation.awaiting import flags_of
from guardalign_middleware.generation.stream import Emit, TokenStream
from guardalign_middleware.types import (
    CalibrationReport,
    CanonicalImage,
    Generated,
    Message,
    Usage,
)


@dataclass(frozen=True)
class EchoCall:
    """One conversation that an `EchoRunner` was asked to answer."""

    messages: tuple[Message, ...]
    prefix: bool
    calibrate: bool

    @property
    def images(self) -> tuple[CanonicalImage, ...]:
        """All images of the conversation in reading order."""
        return tuple(image for message in self.messages for image in message.images)


class EchoRunner:
    """A `Runner` that repeats the last user text and remembers everything it was given.

    The answer is `echo: TEXT`, followed by `[2 images]` when the conversation holds two. Words
    count as tokens, and an image as one. `calls` holds the conversations in order of arrival.
    """

    def __init__(self) -> None:
        self.name = "echo"
        self.config = RunnerConfig(model="echo")
        self.calls: list[EchoCall] = []
        self._lock = threading.Lock()

    def generate(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Generated:
        """Repeat the last user text.

        Raises:
            MessageError: there is no user message.
        """
        call = EchoCall(tuple(messages), prefix, calibrate)
        with self._lock:
            self.calls.append(call)
        user = [message for message in messages if message.role == "user"]
        if not user:
            raise MessageError("There is no message with role 'user'.")
        count = len(call.images)
        suffix = f" [{count} image{'s' if count > 1 else ''}]" if count else ""
        text = f"echo: {user[-1].text}{suffix}"
        for item in stop or ():
            text = text.split(item)[0]
        words = text.split()
        limit = self.config.max_new_tokens if max_new_tokens is None else max_new_tokens
        kept = words[:limit]
        return Generated(
            text=" ".join(kept),
            finish_reason="stop" if len(kept) == len(words) else "length",
            calibration=CalibrationReport("off", prefix, reason="an echo has no attention"),
            usage=Usage(sum(len(m.text.split()) for m in messages) + count, len(kept)),
        )

    def generate_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> list[Generated]:
        """Repeat the last user text of each conversation."""
        flags = flags_of(prefix, len(rows))
        return [
            self.generate(
                row, prefix=flag, calibrate=calibrate, max_new_tokens=max_new_tokens, stop=stop
            )
            for row, flag in zip(rows, flags, strict=True)
        ]

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> TokenStream:
        """Repeat the last user text word by word."""
        answer = self.generate(
            messages, prefix=prefix, calibrate=calibrate, max_new_tokens=max_new_tokens, stop=stop
        )

        def produce(emit: Emit, cancel: threading.Event) -> Generated:
            words = answer.text.split(" ")
            for index, word in enumerate(words):
                if cancel.is_set():
                    return replace(answer, text=" ".join(words[:index]), finish_reason="cancelled")
                emit(word if index == 0 else f" {word}")
            return answer

        return TokenStream(produce)


class BarrierRunner(EchoRunner):
    """Answers once `callers` streams wait for it at the same time; fails if they never do.

    Args:
        callers: how many streams must wait.
    """

    def __init__(self, callers: int) -> None:
        super().__init__()
        self._barrier = threading.Barrier(callers)

    def stream(self, messages: Sequence[Message], **options: Any) -> TokenStream:
        """Answer when everybody is there."""
        answer = self.generate(messages)

        def produce(emit: Any, cancel: threading.Event) -> Generated:
            self._barrier.wait(120)
            emit(answer.text)
            return answer

        return TokenStream(produce)
