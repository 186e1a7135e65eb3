"""The server through clients of the older openai, and LlamaIndex's LLM for such servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.openai_like import OpenAILike

from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import all_red, data_url, picture, png, red_chain
from guardalign_middleware.types import CanonicalImage
from tests.support.serving import KEY, served

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(create_app(red_chain(), ServeOptions(api_key=KEY))) as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def llm(url: str) -> Iterator[OpenAILike]:
    with openai.DefaultHttpxClient() as http:
        yield OpenAILike(
            model="red",
            api_base=url,
            api_key=KEY,
            is_chat_model=True,
            max_retries=0,
            http_client=http,
        )


def about(image: CanonicalImage) -> list[dict[str, Any]]:
    part = {"type": "image_url", "image_url": {"url": data_url(image)}}
    return [{"role": "user", "content": [part, {"type": "text", "text": "what is it?"}]}]


def test_the_older_client_is_the_older_one() -> None:
    assert openai.__version__.startswith("2.")


def test_an_answer_of_the_older_client(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="red", messages=about(picture(red=True)))  # type: ignore[arg-type]
    assert answer.choices[0].message.content == "echo: what is it? [1 image]"
    assert answer.model_extra is not None
    assert answer.model_extra["guardalign"]["decision"] == "mask"


def test_a_refusal_for_the_older_client(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="red", messages=about(all_red()))  # type: ignore[arg-type]
    assert answer.choices[0].finish_reason == "content_filter"
    assert answer.choices[0].message.refusal == "I cannot help with this image."


def test_streams_of_the_older_client(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="red",
            messages=[{"role": "user", "content": "a b"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    said = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
    assert said == "echo: a b"
    assert chunks[-1].usage is not None
    with client.responses.stream(model="red", input="a b") as stream:
        assert [each.type for each in stream][-1] == "response.completed"
        assert stream.get_final_response().output_text == "echo: a b"


def test_an_answer_of_llama_index(llm: OpenAILike) -> None:
    blocks = [ImageBlock(image=png(picture(red=True))), TextBlock(text="what is it?")]
    message = ChatMessage(role="user", blocks=blocks)
    answer = llm.chat([message])
    assert answer.message.content == "echo: what is it? [1 image]"
    pieces = [each.delta for each in llm.stream_chat([message])]
    assert "".join(piece or "" for piece in pieces) == "echo: what is it? [1 image]"


def test_a_refusal_for_llama_index(llm: OpenAILike) -> None:
    message = ChatMessage(role="user", blocks=[ImageBlock(image=png(all_red()))])
    answer = llm.chat([message])
    assert not answer.message.content
    assert answer.raw is not None
    assert answer.raw.choices[0].finish_reason == "content_filter"


def test_the_legacy_endpoint_says_what_to_set(url: str) -> None:
    with openai.DefaultHttpxClient() as http:
        llm = OpenAILike(model="red", api_base=url, api_key=KEY, max_retries=0, http_client=http)
        with pytest.raises(openai.NotFoundError, match="is_chat_model=True"):
            llm.complete("x")
