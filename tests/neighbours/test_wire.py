"""What LlamaIndex's own LLMs put on the wire behind the guard: cleaned pixels only."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import ollama
import pytest
from llama_index.core.base.llms.types import DocumentBlock
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.prompts import RichPromptTemplate
from llama_index.core.schema import ImageDocument
from llama_index.core.tools import FunctionTool
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai import OpenAI
from pydantic import BaseModel

from guardalign_middleware.testing import (
    base64_png,
    data_url,
    has_red,
    open_png,
    picture,
    png,
    red_guard,
)
from llama_index.llms.guardalign import GuardAlignGuardedLLM

SAFE, UNSAFE = picture(), picture(red=True)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{100,}={0,2}")


class Scene(BaseModel):
    """What is in a picture."""

    name: str


class Wire:
    """Answers requests of both APIs, and keeps their bodies."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        message: dict[str, Any] = {"role": "assistant", "content": '{"name": "square"}'}
        if request.url.path == "/api/chat":
            counts = {"prompt_eval_count": 40, "eval_count": 5}
            return httpx.Response(
                200, json={"model": "llava", "message": message, "done": True, **counts}
            )
        if body.get("tools"):
            function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"x": 3}'}
            message["tool_calls"] = [
                {"id": str(number), "type": "function", "function": function} for number in (1, 2)
            ]
        return httpx.Response(
            200,
            json={
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "gpt-4o",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 40, "completion_tokens": 5, "total_tokens": 45},
            },
        )

    def pictures(self) -> list[Any]:
        """Every picture in the bodies, in whatever place."""
        texts = _BASE64.findall(json.dumps(self.bodies))
        return [open_png(base64.b64decode(text)) for text in texts]

    def holds(self, *secrets: str) -> bool:
        return any(secret in json.dumps(self.bodies) for secret in secrets)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def openai(wire: Wire, **options: Any) -> GuardAlignGuardedLLM:
    transport = httpx.MockTransport(wire)
    llm = OpenAI(
        model="gpt-4o",
        api_key="none",
        max_retries=0,
        http_client=httpx.Client(transport=transport),
        async_http_client=httpx.AsyncClient(transport=transport),
    )
    return GuardAlignGuardedLLM(llm, red_guard(), **options)


def of_ollama(wire: Wire) -> GuardAlignGuardedLLM:
    transport = httpx.MockTransport(wire)
    llm = Ollama(
        model="llava",
        context_window=4096,
        client=ollama.Client(host="http://ollama", transport=transport),
        async_client=ollama.AsyncClient(host="http://ollama", transport=transport),
    )
    return GuardAlignGuardedLLM(llm, red_guard())


def in_keywords() -> ChatMessage:
    """With tool calls, the integration writes all of `additional_kwargs` over the message."""
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    parts = [{"type": "image_url", "image_url": {"url": data_url(UNSAFE)}}]
    given = {"content": parts, "tool_calls": [call]}
    return ChatMessage(role="assistant", content="I look.", additional_kwargs=given)


CARRIERS: dict[str, Callable[[], ChatMessage]] = {
    "image": lambda: ChatMessage(role="user", blocks=[ImageBlock(image=png(UNSAFE))]),
    "document": lambda: ChatMessage(
        role="user", blocks=[DocumentBlock(data=png(UNSAFE), document_mimetype="image/png")]
    ),
    "content of additional_kwargs": in_keywords,
    "images of additional_kwargs": lambda: ChatMessage(
        role="user",
        content="What?",
        additional_kwargs={"images": [ImageDocument(image=base64_png(UNSAFE))]},
    ),
}


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_openai_gets_cleaned_pixels_only(
    wire: Wire, carrier: Callable[[], ChatMessage], asynchronous: bool
) -> None:
    llm = openai(wire)
    messages = [carrier(), ChatMessage(role="user", content="What is it?")]
    response = asyncio.run(llm.achat(messages)) if asynchronous else llm.chat(messages)
    assert response.message.content == '{"name": "square"}'
    (shown,) = wire.pictures()
    assert not has_red(shown)
    assert not wire.holds(base64_png(UNSAFE))


PROMPT: Any = RichPromptTemplate('{% chat role="user" %}{{ url | image }} What is it?{% endchat %}')


@pytest.mark.parametrize("asynchronous", [False, True])
def test_openai_gets_the_schema_as_response_format(wire: Wire, asynchronous: bool) -> None:
    llm = openai(wire)
    url = data_url(UNSAFE)
    found = (
        asyncio.run(llm.astructured_predict(Scene, PROMPT, url=url))
        if asynchronous
        else llm.structured_predict(Scene, PROMPT, url=url)
    )
    assert found == Scene(name="square")
    (body,) = wire.bodies
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["name"] == "Scene"
    assert "tools" not in body
    assert [has_red(shown) for shown in wire.pictures()] == [False]


def test_ollama_gets_the_schema_as_format(wire: Wire) -> None:
    llm = of_ollama(wire)
    structured = llm.as_structured_llm(Scene)
    blocks = [ImageBlock(image=png(UNSAFE)), TextBlock(text="What is it?")]
    assert structured.chat([ChatMessage(role="user", blocks=blocks)]).raw == Scene(name="square")
    (body,) = wire.bodies
    assert body["format"]["title"] == "Scene"
    assert [has_red(shown) for shown in wire.pictures()] == [False]


def test_openai_calls_tools_in_parallel(wire: Wire) -> None:
    def look(x: int) -> str:
        """Look at something."""
        return f"seen {x}"

    llm: Any = openai(wire)
    called = llm.predict_and_call(
        [FunctionTool.from_defaults(look)],
        chat_history=[CARRIERS["image"]()],
        allow_parallel_tool_calls=True,
    )
    assert called.response == "seen 3\n\nseen 3"
    assert wire.bodies[0]["tools"][0]["function"]["name"] == "look"
    assert [has_red(shown) for shown in wire.pictures()] == [False]


def test_settings_counts_and_copies_are_openais(wire: Wire) -> None:
    llm: Any = openai(wire)
    assert (llm.model, llm.api_key, llm.metadata.context_window) == ("gpt-4o", "none", 128_000)
    response = llm.chat([CARRIERS["image"]()])
    assert response.raw.usage.prompt_tokens == 40
    for name in ("_get_client", "_client", "_chat"):
        assert not hasattr(llm, name)
    written = GuardAlignGuardedLLM(OpenAI(model="gpt-4o", api_key="none"), preset="mini").to_dict()
    again: Any = GuardAlignGuardedLLM.from_dict(written)
    assert type(again.llm) is OpenAI
    assert again.model == "gpt-4o"
