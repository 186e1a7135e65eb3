"""The guard's report on the responses of another LLM."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse

Report = dict[str, Any]
Response = TypeVar("Response", ChatResponse, CompletionResponse)
KEY = "guardalign"


def with_report(response: Response, report: Report) -> Response:
    """A copy with the report in `additional_kwargs`, and in `raw` if that is a dictionary.

    Any other `raw` is an object of the provider and stays as it is.
    """
    update: dict[str, Any] = {"additional_kwargs": {**response.additional_kwargs, KEY: report}}
    if response.raw is None or isinstance(response.raw, dict):
        update["raw"] = {**(response.raw or {}), KEY: report}
    return response.model_copy(update=update)


def stream_with_report(
    stream: Iterable[Response], report: Report
) -> Generator[Response, None, None]:
    """`with_report` for each piece; closing this closes the stream."""
    try:
        for response in stream:
            yield with_report(response, report)
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()


async def astream_with_report(
    stream: AsyncIterable[Response], report: Report
) -> AsyncGenerator[Response, None]:
    """`with_report` for each piece; closing this closes the stream."""
    try:
        async for response in stream:
            yield with_report(response, report)
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def is_blocked(response: ChatResponse) -> bool:
    """Whether this is the guard's reply to a blocked image."""
    report = response.additional_kwargs.get(KEY)
    return isinstance(report, dict) and report.get("finish_reason") == "blocked"
