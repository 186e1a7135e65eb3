"""The real server on a loopback socket, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

KEY = "a-key-for-the-tests"


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port; gives its URL. Tests need the marker `allow_hosts`."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http="h11", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    ready = threading.Event()

    async def serve() -> None:
        task = asyncio.ensure_future(server.serve())
        while not (server.started or task.done()):
            await asyncio.sleep(0.005)
        ready.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(60), "the server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server did not stop"
