"""A server that is killed in the middle of its work: its clients get errors, and allow nothing."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest

from guardalign_middleware import GuardAlign, ImageGuard, RemoteImageGuard, Unreachable
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import EchoRunner, data_url, picture, red_guard
from langchain_guardalign import ImageGuardRunnable
from tests.support.serving import KEY, GatedRunner, served

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


class Stuck(ImageGuard):
    """Says that it was asked about pictures, and never answers."""

    asked: int = -1

    def sanitize_many(self, sources: Any, **_: Any) -> Any:
        if sources:
            os.write(self.asked, b"a")
            threading.Event().wait()
        return []


class Process:
    """A server in a forked process; the detector in it has scanned nothing before.

    Attributes:
        url: of the server.
    """

    def __init__(self) -> None:
        self._asked, asked = os.pipe()
        address, told = os.pipe()
        self._id = os.fork()
        if self._id == 0:
            self._serve(told, asked)
        os.close(told)
        os.close(asked)
        with os.fdopen(address) as line:
            self.url = line.readline().strip()

    def _serve(self, told: int, asked: int) -> None:
        try:
            plain, runner = red_guard(), GatedRunner()
            guard = Stuck(plain.config, plain.detector)
            guard.asked = asked
            runner.more.release()
            with served(create_app(GuardAlign(guard, runner), ServeOptions(api_key=KEY))) as url:
                os.write(told, f"{url}\n".encode())
                threading.Event().wait()
        finally:
            os._exit(1)

    def wait_until_asked(self) -> None:
        assert os.read(self._asked, 1) == b"a"

    def kill(self) -> None:
        os.kill(self._id, signal.SIGKILL)
        os.waitpid(self._id, 0)
        os.close(self._asked)


@contextmanager
def process() -> Iterator[Process]:
    made = Process()
    try:
        yield made
    except BaseException:
        made.kill()
        raise


def test_a_stream_ends_in_an_error_and_not_as_an_answer() -> None:
    with process() as server:
        url = f"{server.url}/v1"
        with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=60) as client:
            stream = client.chat.completions.create(
                model="red", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            said = ""
            while not said:
                said = next(stream).choices[0].delta.content or ""
            server.kill()
            with pytest.raises((httpx.TransportError, openai.APIError)):
                list(stream)


def by_chain(remote: RemoteImageGuard, messages: list[Any], runner: EchoRunner) -> object:
    return GuardAlign(remote, runner).invoke(messages)


def by_langchain(remote: RemoteImageGuard, messages: list[Any], runner: EchoRunner) -> object:
    chain = ImageGuardRunnable(guard=remote) | (lambda _: runner.calls.append("called"))
    return chain.invoke(messages)


@pytest.mark.parametrize("call", [by_chain, by_langchain])
def test_pictures_that_wait_for_it_are_not_let_through(call: Callable[..., object]) -> None:
    content = [{"type": "image_url", "image_url": {"url": data_url(picture())}}]
    messages = [{"role": "user", "content": content}]
    runner = EchoRunner()
    with process() as server, RemoteImageGuard(server.url, api_key=KEY, retries=0) as remote:
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(call, remote, messages, runner)
            server.wait_until_asked()
            server.kill()
            with pytest.raises(Unreachable, match="broke off"):
                waiting.result(60)
        with pytest.raises(Unreachable, match="cannot be reached"):
            call(remote, messages, runner)
    assert runner.calls == []
