"""The real server on a loopback socket, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

from fastapi import FastAPI

from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.generation.stream import Emit, TokenStream
from guardalign_middleware.listening import bind, url_of
from guardalign_middleware.replies import CalibrationReport, Generated, Usage
from guardalign_middleware.serving.server import DrainingServer
from guardalign_middleware.testing import EchoRunner
from guardalign_middleware.types import Message

KEY = "a-key-for-the-tests"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


def head(*headers: str, key: str = KEY, path: str = "/v1/chat/completions") -> bytes:
    """The head of a POST, for clients that are no library."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        *headers,
        "",
        "",
    )
    return "\r\n".join(lines).encode()


class Running:
    """A server in a thread.

    Args:
        app: from `create_app`.
        pages: as for `DrainingServer`.
        port: where it listens; 0 = a free one.
    """

    def __init__(self, app: FastAPI, *, pages: bool = False, port: int = 0) -> None:
        self.app = app
        self.server = DrainingServer(app, pages=pages)
        self._bound = bind("127.0.0.1", port)
        self.url = url_of(self._bound)
        self.address: tuple[str, int] = self._bound.getsockname()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(60), "the server did not start"

    def stop(self) -> None:
        self.server.should_exit = True
        self.server.force_exit = True
        self.wait()

    def wait(self) -> None:
        """Until the server has ended by itself."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the server did not stop"

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        task = asyncio.ensure_future(self.server.serve([self._bound]))
        while not (self.server.started or task.done()):
            await asyncio.sleep(0.005)
        self._ready.set()
        await task


@contextmanager
def running(app: FastAPI, *, pages: bool = False, port: int = 0) -> Iterator[Running]:
    """Serve an app; arguments are those of `Running`. Tests need the marker `allow_hosts`."""
    server = Running(app, pages=pages, port=port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def served(app: FastAPI, port: int = 0) -> Iterator[str]:
    """Serve an app on a port, 0 = a free one; gives its URL. Tests need `allow_hosts`."""
    with running(app, port=port) as server:
        yield server.url


class GatedRunner(EchoRunner):
    """Answers with one word for each time that `more` is released, until it is cancelled.

    Attributes:
        more: releases a word; after `enough` is set, the answer is complete.
        asked: released when a request has begun.
        cancelled: released when a request was cancelled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.more = threading.Semaphore(0)
        self.enough = threading.Event()
        self.asked = threading.Semaphore(0)
        self.cancelled = threading.Semaphore(0)
        self.words = 0
        self.word = "word "

    def stream(
        self,
        messages: Sequence[Message],
        *,
        prefix: bool = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> TokenStream:
        return TokenStream(self._produce)

    def _produce(self, emit: Emit, cancel: threading.Event) -> Generated:
        self.asked.release()
        said: list[str] = []
        while not (cancel.is_set() or self.enough.is_set()):
            if self.more.acquire(timeout=0.01):
                said.append(self.word)
                self.words += 1
                emit(self.word)
        if cancel.is_set():
            self.cancelled.release()
        report = CalibrationReport("off", prefix=True, reason="no attention")
        finish: Any = "cancelled" if cancel.is_set() else "stop"
        return Generated("".join(said), finish, report, Usage(1, len(said)))
