"""A server that is killed in the middle of its work: its clients get errors, and allow nothing."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage, ImageBlock, MockLLM, TextBlock
from pydantic import PrivateAttr

from guardalign_middleware import GuardAlign, RemoteImageGuard, Unreachable
from guardalign_middleware.testing import EchoRunner, data_url, picture, png
from langchain_guardalign import GuardedChatModel, ImageGuardRunnable
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from tests.support.server_process import one_word, process, stuck
from tests.support.serving import KEY

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
Pieces = Callable[[str], Iterator[str]]
Ask = Callable[[RemoteImageGuard, list[str]], object]


def by_openai(url: str) -> Iterator[str]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=60) as client:
        stream = client.chat.completions.create(
            model="red", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        for chunk in stream:
            yield chunk.choices[0].delta.content or ""


def by_guarded_langchain(url: str) -> Iterator[str]:
    model = ChatOpenAI(base_url=f"{url}/v1", api_key=KEY, model="red", max_retries=0)  # type: ignore[arg-type]
    with RemoteImageGuard(url, api_key=KEY) as remote:
        for chunk in GuardedChatModel(model, guard=remote).stream("hi"):
            yield str(chunk.content)


@pytest.mark.parametrize("pieces", [by_openai, by_guarded_langchain])
def test_a_stream_ends_in_an_error_and_not_as_an_answer(pieces: Pieces) -> None:
    with process(one_word) as server:
        said = pieces(server.url)
        assert next(piece for piece in said if piece) == "word "
        server.kill()
        with pytest.raises((httpx.TransportError, openai.APIError)):
            list(said)


MESSAGES: list[Any] = [
    {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": data_url(picture())}}],
    }
]
BLOCKS = [ChatMessage(role="user", blocks=[TextBlock(text="hi"), ImageBlock(image=png(picture()))])]


def by_chain(remote: RemoteImageGuard, forwarded: list[str]) -> object:
    runner = EchoRunner()
    try:
        return GuardAlign(remote, runner).invoke(MESSAGES)
    finally:
        forwarded += ["called"] * len(runner.calls)


def by_langchain(remote: RemoteImageGuard, forwarded: list[str]) -> object:
    model = RunnableLambda(lambda _: forwarded.append("called"))
    return (ImageGuardRunnable(guard=remote) | model).invoke(MESSAGES)


def by_streaming_langchain(remote: RemoteImageGuard, forwarded: list[str]) -> object:
    model = RunnableLambda(lambda _: forwarded.append("called"))
    return list((ImageGuardRunnable(guard=remote) | model).stream(MESSAGES))


class Noting(MockLLM):
    """Notes that it was called."""

    _forwarded: list[str] = PrivateAttr()

    def chat(self, messages: Any, **kwargs: Any) -> Any:
        self._forwarded.append("called")
        return super().chat(messages, **kwargs)

    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        self._forwarded.append("called")
        return super().stream_chat(messages, **kwargs)


def guarded(remote: RemoteImageGuard, forwarded: list[str]) -> GuardAlignGuardedLLM:
    llm = Noting()
    llm._forwarded = forwarded
    return GuardAlignGuardedLLM(llm=llm, guard=remote)


def by_llama_index(remote: RemoteImageGuard, forwarded: list[str]) -> object:
    return guarded(remote, forwarded).chat(BLOCKS)


def by_streaming_llama_index(remote: RemoteImageGuard, forwarded: list[str]) -> object:
    return list(guarded(remote, forwarded).stream_chat(BLOCKS))


@pytest.mark.parametrize(
    "ask",
    [by_chain, by_langchain, by_streaming_langchain, by_llama_index, by_streaming_llama_index],
)
def test_pictures_that_wait_for_it_are_let_through_only_when_it_is_back(ask: Ask) -> None:
    forwarded: list[str] = []
    with process(stuck) as server, RemoteImageGuard(server.url, api_key=KEY) as remote:
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(ask, remote, forwarded)
            server.wait_until_asked()
            server.kill()
            with pytest.raises(Unreachable, match="broke off"):
                waiting.result(60)
        with pytest.raises(Unreachable, match="cannot be reached"):
            ask(remote, forwarded)
        assert forwarded == []
        with process(one_word, server.port):
            ask(remote, forwarded)
        assert forwarded == ["called"]
