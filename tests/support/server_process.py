"""A server in a process of its own, which a test can kill as the system does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from select import select
from typing import Any

import psutil
from fastapi import FastAPI

from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_guard
from tests.support.serving import KEY, GatedRunner, served


class Stuck(ImageGuard):
    """Says that it was asked about pictures, and never answers."""

    asked: int = -1

    def sanitize_many(self, sources: Any, **_: Any) -> Any:
        if sources:
            os.write(self.asked, b"a")
            threading.Event().wait()
        return []


def one_word(asked: int) -> FastAPI:
    """A chain whose model says one word of an answer and waits."""
    return _chain(red_guard())


def stuck(asked: int) -> FastAPI:
    """The same, whose guard never answers about pictures."""
    plain = red_guard()
    guard = Stuck(plain.config, plain.detector)
    guard.asked = asked
    return _chain(guard)


def _chain(guard: ImageGuard) -> FastAPI:
    runner = GatedRunner()
    runner.more.release()
    return create_app(GuardAlign(guard, runner), ServeOptions(api_key=KEY))


class Process:
    """A server in a forked process; the detector in it has scanned nothing before.

    Args:
        make: makes what is served there; gets a descriptor to write to when it was asked.
        port: where it listens; 0 = a free one.

    Attributes:
        url: of the server.
    """

    def __init__(self, make: Callable[[int], FastAPI], port: int = 0) -> None:
        self._asked, asked = os.pipe()
        address, told = os.pipe()
        self._id = os.fork()
        if self._id == 0:
            try:
                with served(make(asked), port) as url:
                    os.write(told, f"{url}\n".encode())
                    threading.Event().wait()
            finally:
                os._exit(1)
        os.close(told)
        os.close(asked)
        with os.fdopen(address) as line:
            self.url = line.readline().strip()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def memory(self) -> int:
        """Bytes in memory that are its own: none of libraries, which are read as they are used."""
        found = psutil.Process(self._id).memory_info()
        return int(found.rss - found.shared)

    def wait_until_asked(self) -> None:
        assert select([self._asked], [], [], 60)[0], "it was not asked"
        assert os.read(self._asked, 1) == b"a"

    def kill(self) -> None:
        """End it at once; a second time, nothing happens."""
        if self._id:
            os.kill(self._id, signal.SIGKILL)
            os.waitpid(self._id, 0)
            os.close(self._asked)
            self._id = 0


@contextmanager
def process(make: Callable[[int], FastAPI], port: int = 0) -> Iterator[Process]:
    """A server that is killed by the test, or else at its end."""
    made = Process(make, port)
    try:
        yield made
    finally:
        made.kill()
