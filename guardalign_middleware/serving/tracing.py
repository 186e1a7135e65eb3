"""Spans by OpenTelemetry's names for generative AI, where OpenTelemetry is installed.

The names are written out, because the package of semantic conventions deprecates its own. Content
is never an attribute: no messages, no stop sequences, no texts of errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from opentelemetry import propagate, trace
    from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider
except ImportError:
    _INSTALLED = False
else:
    _INSTALLED = True

_NAME = "guardalign"


class AnswerSpan:
    """The span of one answer; without OpenTelemetry, or without a configured SDK, it is nothing.

    Args:
        operation: `chat`, or what else is done.
        attributes: of the request; None values are left out.
        headers: of the request, which may hold its trace.
    """

    def __init__(
        self, operation: str, attributes: Mapping[str, Any], headers: Mapping[str, str]
    ) -> None:
        self._span: Span | None = None
        provider = _provider()
        if provider is not None:
            model = attributes.get("gen_ai.request.model", "")
            self._span = provider.get_tracer(_NAME).start_span(
                f"{operation} {model}".strip(),
                context=propagate.extract(headers),
                kind=SpanKind.SERVER,
                attributes={
                    "gen_ai.operation.name": operation,
                    "gen_ai.provider.name": _NAME,
                    **_given(attributes),
                },
            )

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes; None values are left out."""
        if self._span is not None:
            self._span.set_attributes(_given(attributes))

    def end(self, error: str | None = None) -> None:
        """End the span.

        Args:
            error: type of the error; None if there was none.
        """
        if self._span is None:
            return
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _provider() -> TracerProvider | None:
    """Who makes spans; None until an SDK does, because spans that lead nowhere cost time, too."""
    if not _INSTALLED:
        return None
    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider) else provider


def _given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
