"""One request on its way through the runner: its prompt, its settings and its future."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass

from guardalign_middleware.generation.engine.collate import group_of
from guardalign_middleware.generation.engine.decoding import RowDecoder
from guardalign_middleware.generation.options import ResolvedOptions
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts
from guardalign_middleware.replies import CalibrationReport, Generated, Usage


@dataclass(frozen=True)
class Settings:
    """How one request is answered.

    Attributes:
        options: length, sampling, stop strings and tools.
        prefix: whether the safety prefix is in the prompt.
        gamma: strength of the calibration; 0 = none.
        explain: record the attention to the prefix.
        off_reason: why gamma is 0 although there is a prefix; empty when it is not.
        alone: share no pass with other requests.
    """

    options: ResolvedOptions
    prefix: bool
    gamma: float
    explain: bool = False
    off_reason: str = ""
    alone: bool = False


class Job:
    """A request with its own decoder and future; each row of a batch is a job.

    Args:
        prompt: the prompt of one conversation.
        settings: how it is answered.
        make_decoder: makes the row's decoder; its argument returns True once the job is cancelled.
    """

    def __init__(
        self,
        prompt: EncodedPrompts,
        settings: Settings,
        make_decoder: Callable[[Callable[[], bool]], RowDecoder],
    ) -> None:
        self.prompt = prompt
        self.settings = settings
        self.future: Future[Generated] = Future()
        # A running future cannot be cancelled. If a caller could, setting this row's answer would
        # raise inside the model's pass and fail the other rows.
        self.future.set_running_or_notify_cancel()
        self._cancelled = threading.Event()
        self.decoder = make_decoder(self._cancelled.is_set)

    @property
    def group(self) -> Hashable:
        """Jobs with the same group may share a batch; their decoding options may differ.

        Calibrated and plain rows never share one, so a fault of the calibration cannot reach a
        request that does not use it.
        """
        if self.settings.alone:
            return id(self)
        calibrated = self.settings.gamma > 0.0 and bool(self.prompt.prefix_mask.any())
        return group_of(self.prompt), calibrated, self.settings.explain

    def stop_soon(self) -> None:
        """Let the row end at its next token."""
        self._cancelled.set()

    def finish(self, calibration: CalibrationReport) -> None:
        """Set the answer."""
        text = self.decoder.finish()
        self.future.set_result(
            Generated(
                text=text,
                finish_reason=self.decoder.reason or "length",
                calibration=calibration,
                usage=Usage(self.prompt.input_tokens[0], len(self.decoder.ids)),
            )
        )

    def abandon(self) -> None:
        """Answer a request that was cancelled before the model saw it."""
        report = CalibrationReport(
            "off", self.settings.prefix, reason="the request was cancelled while it waited"
        )
        usage = Usage(self.prompt.input_tokens[0], 0)
        self.future.set_result(Generated("", "cancelled", report, usage))

    def fail(self, error: BaseException) -> None:
        """Set the error, unless there is an answer already."""
        if not self.future.done():
            self.future.set_exception(error)
