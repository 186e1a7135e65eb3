"""The proxy for HTTP between the official client and the official server."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CreateMessageResult, ImageContent, TextContent

from guardalign_middleware.mcp import MessageGuard
from guardalign_middleware.testing import has_red, holds_raw, open_png, picture, png, red_guard
from tests.support.mcp_http import picture_server, proxied

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

UNSAFE = png(picture(red=True))


@pytest.fixture(scope="module", params=[False, True], ids=["events", "json"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    guard = MessageGuard.of(red_guard())
    with proxied(guard, picture_server(UNSAFE, json_response=request.param)) as address:
        yield address


@asynccontextmanager
async def session(url: str, **callbacks: Any) -> AsyncIterator[ClientSession]:
    async with (
        streamable_http_client(url) as (incoming, outgoing, _),
        ClientSession(incoming, outgoing, **callbacks) as client,
    ):
        await client.initialize()
        yield client


def is_clean(content: Any) -> bool:
    assert isinstance(content, ImageContent)
    return not has_red(open_png(base64.b64decode(content.data)))


async def test_a_picture_is_cleaned(url: str) -> None:
    async with session(url) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"screenshot", "slow", "describe"}
        result = await client.call_tool("screenshot", {})
    assert is_clean(result.content[0])
    assert not holds_raw(result, UNSAFE)


async def test_progress_and_logs_pass(url: str) -> None:
    heard: list[Any] = []

    async def log(message: Any) -> None:
        heard.append(message.data)

    async def progress(*args: Any) -> None:
        heard.append(args)

    async with session(url, logging_callback=log) as client:
        result = await client.call_tool("slow", {}, progress_callback=progress)
    assert isinstance(result.content[0], TextContent)
    assert is_clean(result.content[1])
    # With answers in JSON, the server has no way to tell.
    assert heard in ([(1.0, 2.0, "half"), "words"], [])


async def test_sampling_is_cleaned_in_both_directions() -> None:
    seen: list[Any] = []

    async def sample(_: Any, params: Any) -> CreateMessageResult:
        seen.append(params.messages[0].content)
        data = base64.b64encode(UNSAFE).decode()
        content = ImageContent(type="image", data=data, mimeType="image/png")
        return CreateMessageResult(role="assistant", content=content, model="m")

    guard = MessageGuard.of(red_guard())
    with proxied(guard, picture_server(UNSAFE)) as url:
        async with session(url, sampling_callback=sample) as client:
            result = await client.call_tool("describe", {})
    assert is_clean(seen[0])
    assert isinstance(result.content[0], TextContent)
    assert result.content[0].text == "cleaned"


class Slow:
    """A server whose stream goes on when it may, and that sees when its client leaves."""

    def __init__(self) -> None:
        self.may, self.left = threading.Event(), threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b": one\n\n", "more_body": True})
        await asyncio.to_thread(self.may.wait, 60)
        await send({"type": "http.response.body", "body": b": two\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


async def test_events_come_one_by_one_and_a_client_that_leaves_ends_them() -> None:
    slow = Slow()
    with proxied(MessageGuard.of(red_guard()), slow) as url:
        async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
            pieces = response.aiter_bytes()
            assert await anext(pieces) == b": one\n\n"
            slow.may.set()
            assert await anext(pieces) == b": two\n\n"
        assert await asyncio.to_thread(slow.left.wait, 60)
