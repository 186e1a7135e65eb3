"""Servers on a loopback socket in a thread, so that one clock of the process counts both sides."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from guardalign_middleware.listening import bind, url_of


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Serve an app on a free port; gives its URL."""
    bound = bind("127.0.0.1", 0)
    bound.listen()
    # As `guardalign serve` sets it, without its end.
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield url_of(bound)
    finally:
        server.should_exit = True
        thread.join()


def clock_upstream(chunks: int, pause: float) -> Starlette:
    """A service that streams the times at which it speaks.

    Args:
        chunks: of an answer.
        pause: seconds before each.
    """

    async def times() -> AsyncGenerator[str, None]:

        for _ in range(chunks):
            await asyncio.sleep(pause)
            yield f'data: {{"at": {time.perf_counter()!r}}}\n\n'
        yield "data: [DONE]\n\n"

    async def chat(request: Request) -> StreamingResponse:
        await request.body()
        return StreamingResponse(times(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
