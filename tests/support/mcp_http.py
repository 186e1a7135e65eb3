"""The official MCP server behind streamable HTTP, and the proxy in front of it, on loopback."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from mcp.server.fastmcp import Context, FastMCP
from mcp.types import ImageContent, SamplingMessage, TextContent

from guardalign_middleware.listening import bind, url_of
from guardalign_middleware.mcp import MessageGuard
from guardalign_middleware.mcp.server import ProxyServer
from guardalign_middleware.mcp.upstream import Upstream


def picture_server(unsafe: bytes, *, json_response: bool = False) -> FastMCP:
    """A server whose tools show a picture, also to the client's model."""
    data = base64.b64encode(unsafe).decode()
    shot = ImageContent(type="image", data=data, mimeType="image/png")
    server = FastMCP("pictures", log_level="ERROR", json_response=json_response)

    @server.tool(structured_output=False)
    def screenshot() -> ImageContent:
        """Take a picture of the screen."""
        return shot

    @server.tool(structured_output=False)
    async def slow(context: Context[Any, Any, Any]) -> list[Any]:
        """Report progress, log, and show a picture."""
        await context.report_progress(1, 2, "half")
        await context.info("words")
        return ["done", shot]

    @server.tool(structured_output=False)
    async def describe(context: Context[Any, Any, Any]) -> str:
        """Ask the client's model about a picture, and say what came back."""
        answer = await context.session.create_message(
            [SamplingMessage(role="user", content=shot)], max_tokens=9
        )
        content = answer.content
        assert isinstance(content, ImageContent | TextContent)
        return "raw" if isinstance(content, ImageContent) and content.data == data else "cleaned"

    return server


@contextmanager
def serving(*servers: tuple[uvicorn.Server, Any]) -> Iterator[None]:
    """Run servers on their sockets, in a thread with a loop of its own."""
    ready = threading.Event()

    async def run() -> None:
        tasks = [asyncio.ensure_future(server.serve([bound])) for server, bound in servers]
        while not all(server.started for server, _ in servers):
            await asyncio.sleep(0.005)
        ready.set()
        await asyncio.gather(*tasks)

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(60), "the servers did not start"
    try:
        yield
    finally:
        for server, _ in servers:
            server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the servers did not stop"


@contextmanager
def proxied(guard: MessageGuard, server: Any) -> Iterator[str]:
    """The address of a proxy in front of a server, or of another application."""
    app = server.streamable_http_app() if isinstance(server, FastMCP) else server
    with bind("127.0.0.1", 0) as inner, bind("127.0.0.1", 0) as outer:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        upstream = Upstream(f"{url_of(inner)}/mcp")
        servers = [(uvicorn.Server(config), inner), (ProxyServer(guard, upstream), outer)]
        with serving(*servers):
            yield f"{url_of(outer)}/mcp"
