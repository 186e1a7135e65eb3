"""What is noted about one answer: metrics and a span, without any content."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.replies import GuardedReply, Usage
from guardalign_middleware.serving.metrics import Metrics
from guardalign_middleware.serving.tracing import AnswerSpan
from guardalign_middleware.types import SEVERITY, Verdict


class Observation:
    """Follows one answer from the request to its end.

    Args:
        metrics: of this server.
        operation: by OpenTelemetry's names, such as `chat`.
        request: attributes by OpenTelemetry's names; None values are left out.
        headers: of the request.
    """

    def __init__(
        self,
        metrics: Metrics,
        operation: str,
        request: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> None:
        self._metrics = metrics
        self._span = AnswerSpan(operation, request, headers)
        self._begun = time.monotonic()
        self._spoke = False
        self._error: str | None = None

    def guarded(self, verdicts: Sequence[Verdict]) -> None:
        """Note what the guard found."""
        for verdict in verdicts:
            self._metrics.image(verdict)
        decisions = [verdict.decision for verdict in verdicts]
        worst = max(decisions, key=SEVERITY.index, default=None)
        self._span.note({"guardalign.images": len(verdicts), "guardalign.decision": worst})

    def spoke(self) -> None:
        """Note a piece of a streamed answer; only the first one counts."""
        if not self._spoke:
            self._spoke = True
            seconds = time.monotonic() - self._begun
            self._metrics.first_text(seconds)
            self._span.note({"gen_ai.response.time_to_first_chunk": seconds})

    def complete(self, reply: GuardedReply, name: str, model: str, finish: str) -> None:
        """Note a complete answer.

        Args:
            reply: of the chain.
            name: id of the response.
            model: name of the model for clients.
            finish: why the answer ended, in the words of the protocol.
        """
        self._metrics.tokens(reply.usage)
        self._span.note(
            {
                "gen_ai.response.id": name,
                "gen_ai.response.model": model,
                "gen_ai.response.finish_reasons": [finish],
                "gen_ai.usage.input_tokens": reply.usage.input_tokens,
                "gen_ai.usage.output_tokens": reply.usage.output_tokens,
                "guardalign.calibration": reply.calibration.state,
            }
        )

    def passed(self, name: object, model: object, usage: Usage | None) -> None:
        """Note a complete answer of an upstream, as far as it tells.

        Args:
            name: id of the response.
            model: name of the model.
            usage: token counts.
        """
        if usage is not None:
            self._metrics.tokens(usage)
        self._span.note(
            {
                "gen_ai.response.id": _writable(name),
                "gen_ai.response.model": _writable(model),
                "gen_ai.usage.input_tokens": None if usage is None else usage.input_tokens,
                "gen_ai.usage.output_tokens": None if usage is None else usage.output_tokens,
                "guardalign.calibration": "off",
            }
        )

    def failed(self, error: BaseException) -> None:
        """Note that there is no complete answer."""
        self._error = type(error).__name__
        self._metrics.fault(self._error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.failed(error)
        self._span.end(self._error)


def _writable(name: object) -> str | None:
    """A name without halves of surrogate pairs, at which an exporter drops a batch of spans."""
    return name.encode(errors="replace").decode() if isinstance(name, str) else None


def span_attributes(model: str, options: GenerationOptions, *, stream: bool) -> dict[str, Any]:
    """The attributes of a request by OpenTelemetry's names; stop sequences are content."""
    seed = options.get("seed")
    return {
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": options.get("max_new_tokens"),
        "gen_ai.request.temperature": options.get("temperature"),
        # OpenTelemetry's integers have 64 bits.
        "gen_ai.request.seed": seed if seed is None or seed < 2**63 else None,
        "gen_ai.request.stream": stream,
    }
