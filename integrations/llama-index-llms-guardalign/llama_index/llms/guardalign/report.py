"""The guard's report on the responses of somebody else's LLM."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse

Report = dict[str, Any]
Response = TypeVar("Response", ChatResponse, CompletionResponse)
KEY = "guardalign"


def mark(response: Response, report: Report) -> Response:
    """A copy that holds the report in `additional_kwargs`, and in `raw` if that is a dictionary.

    Other kinds of `raw` are a provider's own objects, which consumers read as such.
    """
    update: dict[str, Any] = {"additional_kwargs": {**response.additional_kwargs, KEY: report}}
    if response.raw is None or isinstance(response.raw, dict):
        update["raw"] = {**(response.raw or {}), KEY: report}
    return response.model_copy(update=update)


def mark_all(stream: Iterable[Response], report: Report) -> Generator[Response, None, None]:
    """`mark` each piece; closing this closes the stream."""
    try:
        for response in stream:
            yield mark(response, report)
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()


async def mark_all_async(
    stream: AsyncIterable[Response], report: Report
) -> AsyncGenerator[Response, None]:
    """`mark` each piece; closing this closes the stream."""
    try:
        async for response in stream:
            yield mark(response, report)
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def is_blocked(response: ChatResponse) -> bool:
    """Whether the guard answered because an image was blocked."""
    report = response.additional_kwargs.get(KEY)
    return isinstance(report, dict) and report.get("finish_reason") == "blocked"
