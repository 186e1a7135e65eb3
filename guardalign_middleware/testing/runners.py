"""Runners without a model: one that echoes, and one that waits for other callers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Unpack

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import MessageError
from guardalign_middleware.generation.awaiting import prefix_flags
from guardalign_middleware.generation.options import GenerationOptions, resolve_options
from guardalign_middleware.generation.stream import Emit, TokenStream
from guardalign_middleware.replies import CalibrationReport, Generated, Usage
from guardalign_middleware.types import CanonicalImage, Message


@dataclass(frozen=True)
class EchoCall:
    """One call to an `EchoRunner`."""

    messages: tuple[Message, ...]
    prefix: bool
    calibrate: bool

    @property
    def images(self) -> tuple[CanonicalImage, ...]:
        """All images of the conversation in reading order."""
        return tuple(image for message in self.messages for image in message.images)


class EchoRunner:
    """A `Runner` that repeats the last user text and records its calls.

    The answer is `echo: TEXT`, followed by `[2 images]` if the conversation holds two. Each word
    and each image counts as one token. `calls` holds the conversations in order of arrival.
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
        **options: Unpack[GenerationOptions],
    ) -> Generated:
        """Repeat the last user text.

        Raises:
            TypeError: an unknown keyword.
            MessageError: there is no user message.
            ConfigError: an option out of range.
        """
        resolved = resolve_options(self.config, options)
        call = EchoCall(tuple(messages), prefix, calibrate)
        with self._lock:
            self.calls.append(call)
        user = [message for message in messages if message.role == "user"]
        if not user:
            raise MessageError("There is no message with role 'user'.")
        count = len(call.images)
        suffix = f" [{count} image{'s' if count > 1 else ''}]" if count else ""
        text = f"echo: {user[-1].text}{suffix}"
        for item in resolved.stop:
            text = text.split(item)[0]
        words = text.split()
        kept = words[: resolved.max_new_tokens]
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
        **options: Unpack[GenerationOptions],
    ) -> list[Generated]:
        """Repeat the last user text of each conversation."""
        flags = prefix_flags(prefix, len(rows))
        return [
            self.generate(row, prefix=flag, calibrate=calibrate, **options)
            for row, flag in zip(rows, flags, strict=True)
        ]

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> TokenStream:
        """Repeat the last user text word by word."""
        answer = self.generate(messages, prefix=prefix, calibrate=calibrate, **options)

        def produce(emit: Emit, cancel: threading.Event) -> Generated:
            words = answer.text.split(" ")
            for index, word in enumerate(words):
                if cancel.is_set():
                    return replace(answer, text=" ".join(words[:index]), finish_reason="cancelled")
                emit(word if index == 0 else f" {word}")
            return answer

        return TokenStream(produce)


class BarrierRunner(EchoRunner):
    """Answers once `callers` streams are waiting simultaneously; fails if they never are.

    Args:
        callers: number of streams to wait for.
    """

    def __init__(self, callers: int) -> None:
        super().__init__()
        self._barrier = threading.Barrier(callers)

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> TokenStream:
        """Answer once all callers are waiting."""
        answer = self.generate(messages, prefix=prefix, calibrate=calibrate, **options)

        def produce(emit: Emit, cancel: threading.Event) -> Generated:
            self._barrier.wait(300)
            emit(answer.text)
            return answer

        return TokenStream(produce)
