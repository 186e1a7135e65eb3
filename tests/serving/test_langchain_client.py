"""The server through langchain-openai's chat model, which is not changed for it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

from guardalign_middleware.testing import all_red, base64_png, data_url, picture
from guardalign_middleware.types import CanonicalImage
from tests.support.serving import KEY

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


Model = Callable[..., ChatOpenAI]


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    """Makes chat models whose connections are closed after the test."""
    with openai.DefaultHttpxClient() as client:
        async with openai.DefaultAsyncHttpxClient() as async_client:

            def make(url: str, **options: Any) -> ChatOpenAI:
                clients = {"http_client": client, "http_async_client": async_client}
                own = {"api_key": KEY, "model": "red", "max_retries": 0}
                return ChatOpenAI(base_url=f"{url}/v1", **clients, **own, **options)

            yield make


def block(image: CanonicalImage) -> dict[str, Any]:
    return {"type": "image", "base64": base64_png(image), "mime_type": "image/png"}


def about(*blocks: dict[str, Any]) -> HumanMessage:
    return HumanMessage([*blocks, {"type": "text", "text": "what is it?"}])


@pytest.mark.parametrize("responses", [False, True])
def test_a_standard_image_block(model: Model, url: str, responses: bool) -> None:
    answer = model(url, use_responses_api=responses).invoke([about(block(picture(red=True)))])
    assert answer.text == "echo: what is it? [1 image]"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 6


@pytest.mark.parametrize("responses", [False, True])
async def test_a_stream(model: Model, url: str, responses: bool) -> None:
    asked = model(url, use_responses_api=responses, stream_usage=True, max_tokens=5)
    part = {"type": "image_url", "image_url": {"url": data_url(picture())}}
    chunks = [chunk async for chunk in asked.astream([about(part)])]
    assert "".join(chunk.text for chunk in chunks) == "echo: what is it? [1"
    assert len(chunks) > 5
    usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [each["output_tokens"] for each in usage] == [5]


def test_a_blocked_picture_is_a_refusal(model: Model, url: str) -> None:
    answer = model(url).invoke([about(block(all_red()))])
    assert answer.additional_kwargs["refusal"] == "I cannot help with this image."
    assert answer.response_metadata["finish_reason"] == "content_filter"
    assert answer.text == ""


@pytest.mark.parametrize("responses", [False, True])
def test_tools(model: Model, tools_url: str, responses: bool) -> None:
    def look_up(word: str, n: int) -> str:
        """Look a word up."""
        return word * n

    asked = model(tools_url, use_responses_api=responses).bind_tools([look_up])
    answer = asked.invoke("go")
    assert isinstance(answer, AIMessage)
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("look_up", {"word": "fish", "n": 2})
    result = ToolMessage([block(picture(red=True))], tool_call_id=call["id"])
    again = asked.invoke([HumanMessage("go"), answer, result])
    assert again.text == "Let me see."


def test_structured_output_is_refused_by_name(model: Model, url: str) -> None:
    schema = {"title": "Thing", "type": "object", "properties": {"name": {"type": "string"}}}
    with pytest.raises(openai.BadRequestError, match="response_format"):
        model(url).with_structured_output(schema, method="json_schema").invoke("x")
