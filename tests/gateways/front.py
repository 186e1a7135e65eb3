"""Stands before the guard: records what it is asked, and takes its place where it has to fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass
class Front:
    """What came in, and what is answered.

    Attributes:
        guard: URL of the real one.
        asked: headers and bodies, in order.
        answer: takes the place of the guard's next answers.
        asleep: whether every request comes back as it was, as if there were no guard.
    """

    guard: str
    asked: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    answer: Response | None = None
    asleep: bool = False

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        content = await request.body()
        body = await request.json()
        self.asked.append((dict(request.headers), body))
        if self.answer is not None:
            return self.answer
        if self.asleep:
            found = {"decision": None, "verdicts": []}
            return JSONResponse({"request": body, "blocked": False, "guardalign": found})
        async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
            headers = {"content-type": "application/json"}
            if "authorization" in request.headers:
                headers["authorization"] = request.headers["authorization"]
            got = await client.post(
                f"{self.guard}{request.url.path}?{request.url.query}",
                content=content,
                headers=headers,
            )
        return Response(got.content, got.status_code, media_type=got.headers["content-type"])


@contextmanager
def front_of(guard: str) -> Iterator[tuple[Front, str]]:
    """Stand before a guard, on a free port; gives the URL, too."""
    front = Front(guard)
    bound = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/{path:path}", front.__call__, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield front, f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the front did not stop"
