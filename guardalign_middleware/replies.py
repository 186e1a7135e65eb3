"""What a runner answers, and what the chain makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from guardalign_middleware.errors import GuardAlignError, ImageRejected
from guardalign_middleware.types import Verdict

FinishReason = Literal["stop", "length", "blocked", "cancelled"]


@dataclass(frozen=True)
class Dropped:
    """A block of a type (`kind`) without text or picture, which no model saw, and its `place`."""

    kind: str
    place: str


@dataclass(frozen=True)
class Refused:
    """A part that could not be checked, in whose `place` the model saw a notice, and why.

    `reason` is that of `ImageRejected`.
    """

    reason: str
    place: str

    @classmethod
    def by(cls, error: GuardAlignError, place: str) -> Self:
        """For the part at which this error was raised."""
        reason = error.reason if isinstance(error, ImageRejected) else "unsupported_type"
        return cls(reason, place)

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return {"decision": "block", "action": "refused", **vars(self)}


@dataclass(frozen=True)
class Usage:
    """Token counts; image tokens are input tokens."""

    input_tokens: int
    output_tokens: int

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class CalibrationReport:
    """Whether and how attention to the safety prefix was amplified in this reply.

    Attributes:
        state: `"on"` only with proof from the run; `"off"` if not configured, γ = 0 or no prefix.
        prefix: True when the safety prefix was in the prompt.
        mode: `"positive"` or `"paper"`.
        gamma: strength γ (paper eq. 13).
        layers: indices of the calibrated decoder layers, as observed during the run: those in
            which some token of the instruction could attend to the prefix.
        prefix_tokens, instruction_tokens: lengths of the two spans.
        reason: why the state is off, in words; empty if on.
        prefix_attention: for each decoder layer, its index and the share of the instruction's
            attention that goes to the prefix, mean over heads; empty unless requested.
    """

    state: Literal["on", "off"]
    prefix: bool
    mode: str = "positive"
    gamma: float = 0.0
    layers: tuple[int, ...] = ()
    prefix_tokens: int = 0
    instruction_tokens: int = 0
    reason: str = ""
    prefix_attention: tuple[tuple[int, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; without `prefix_attention` if it was not recorded."""
        # `asdict` copies deeply, which takes longer than the rest of a reply.
        values = {**vars(self), "layers": list(self.layers)}
        recorded = [list(pair) for pair in values.pop("prefix_attention")]
        return {**values, "prefix_attention": recorded} if recorded else values


@dataclass(frozen=True)
class Generated:
    """A runner's answer to one prompt."""

    text: str
    finish_reason: FinishReason
    calibration: CalibrationReport
    usage: Usage


@dataclass(frozen=True)
class GuardedReply:
    """The chain's answer: its text, the verdicts in reading order, and how it was generated.

    `dropped` names what of the conversation held neither text nor a picture, and `refused` what
    could not be checked, so that the model saw a notice in its place.
    """

    text: str
    verdicts: tuple[Verdict, ...]
    calibration: CalibrationReport
    usage: Usage
    finish_reason: FinishReason
    model: str
    dropped: tuple[Dropped, ...] = ()
    refused: tuple[Refused, ...] = ()

    @classmethod
    def blocked(cls, text: str, verdicts: tuple[Verdict, ...], model: str) -> Self:
        """The reply to a blocked image, for which the model is not asked."""
        report = CalibrationReport(
            "off", prefix=False, reason="an image was blocked, so the model was not asked"
        )
        return cls(text, verdicts, report, Usage(0, 0), "blocked", model)

    @property
    def failed_open(self) -> int:
        """How many images the model saw unscanned because of `on_fault="allow"`."""
        return sum(verdict.fault is not None for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """The public JSON object of `guardalign ask --json`.

        If something was dropped from the conversation or refused, there is one more key, `dropped`
        or `refused`.
        """
        record: dict[str, Any] = {
            "answer": self.text,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "failed_open": self.failed_open,
            "calibration": self.calibration.to_json(),
            "usage": {**vars(self.usage), "total_tokens": self.usage.total_tokens},
            "finish_reason": self.finish_reason,
            "model": self.model,
        }
        if self.dropped:
            record["dropped"] = dropped_record(self.dropped)
        if self.refused:
            record["refused"] = [each.to_json() for each in self.refused]
        return record


def dropped_record(dropped: Sequence[Dropped]) -> list[dict[str, Any]]:
    """Plain JSON values: for each kind how often it was dropped, and where first."""
    counts = Counter(item.kind for item in dropped)
    # Reversed, so that the first place of a kind is the one that stays.
    first = {item.kind: item.place for item in reversed(dropped)}
    return [{"type": kind, "count": count, "place": first[kind]} for kind, count in counts.items()]


@dataclass(frozen=True)
class GuardedChunk:
    """A piece of a streamed answer; the last one carries the whole `reply`."""

    text: str
    reply: GuardedReply | None = None
