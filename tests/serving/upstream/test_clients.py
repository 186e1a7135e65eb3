"""Unmodified clients in front of the guard, with a service of another maker behind it."""

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from guardalign_middleware.testing import all_red, has_red, picture, png
from tests.conversation.positions import block, link, shot, shown
from tests.support.serving import KEY
from tests.support.upstream import Recorded

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

UNSAFE, HOPELESS = png(picture(red=True)), png(all_red())
REPLY = "I cannot help with this image."


@pytest.fixture(scope="module")
def gpt(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def claude(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as made:
        yield made


def user(part: dict[str, Any]) -> list[Any]:
    return [{"role": "user", "content": [part]}]


def is_clean(recorded: Recorded) -> bool:
    (seen,) = shown(recorded.body)
    return not has_red(seen)


def test_openai_chat(gpt: openai.OpenAI, recorded: Recorded) -> None:
    answer = gpt.chat.completions.create(model="m", messages=user(link(UNSAFE)))
    assert answer.choices[0].message.content == "Blue thing"
    assert (answer.model_extra or {})["guardalign"]["decision"] == "mask"
    assert is_clean(recorded)
    stream = gpt.chat.completions.create(
        model="m",
        messages=user(link(UNSAFE)),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    said = [each.choices[0].delta.content or "" for each in chunks if each.choices]
    assert "".join(said) == "Blue thing"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 5


def test_openai_chat_blocked(gpt: openai.OpenAI, recorded: Recorded) -> None:
    choice = gpt.chat.completions.create(model="m", messages=user(link(HOPELESS))).choices[0]
    assert choice.finish_reason == "content_filter"
    assert (choice.message.refusal, choice.message.content) == (REPLY, None)
    stream = gpt.chat.completions.create(model="m", messages=user(link(HOPELESS)), stream=True)
    choices = [chunk.choices[0] for chunk in stream]
    assert "".join(each.delta.refusal or "" for each in choices) == REPLY
    assert choices[-1].finish_reason == "content_filter"
    assert recorded.requests == []


def test_openai_responses(gpt: openai.OpenAI, recorded: Recorded) -> None:
    answer = gpt.responses.create(model="m", input=user(shot(UNSAFE)))
    assert answer.output_text == "Blue thing"
    assert (answer.model_extra or {})["guardalign"]["decision"] == "mask"
    assert is_clean(recorded)
    with gpt.responses.stream(model="m", input=user(shot(UNSAFE))) as stream:
        assert stream.get_final_response().output_text == "Blue thing"


def test_openai_responses_blocked(gpt: openai.OpenAI, recorded: Recorded) -> None:
    answer = gpt.responses.create(model="m", input=user(shot(HOPELESS)))
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "content_filter"
    assert answer.output[0].content[0].refusal == REPLY  # type: ignore[union-attr]
    events = list(gpt.responses.create(model="m", input=user(shot(HOPELESS)), stream=True))
    assert [each.sequence_number for each in events] == list(range(len(events)))
    refusals = [each.delta for each in events if each.type == "response.refusal.delta"]
    assert refusals == [REPLY]
    assert events[-1].type == "response.incomplete"
    assert recorded.requests == []


def test_anthropic(claude: anthropic.Anthropic, recorded: Recorded) -> None:
    answer = claude.messages.create(model="m", max_tokens=8, messages=user(block(UNSAFE)))
    assert answer.content[0].text == "Blue thing"  # type: ignore[union-attr]
    assert (answer.model_extra or {})["guardalign"]["decision"] == "mask"
    assert is_clean(recorded)
    with claude.messages.stream(model="m", max_tokens=8, messages=user(block(UNSAFE))) as stream:
        assert "".join(stream.text_stream) == "Blue thing"
    counted = claude.messages.count_tokens(model="m", messages=user(block(UNSAFE)))
    assert counted.input_tokens == 3
    beta = claude.beta.messages.create(model="m", max_tokens=8, messages=user(block(UNSAFE)))
    assert beta.content[0].text == "Blue thing"  # type: ignore[union-attr]


def test_anthropic_blocked(claude: anthropic.Anthropic, recorded: Recorded) -> None:
    answer = claude.messages.create(model="m", max_tokens=8, messages=user(block(HOPELESS)))
    assert answer.stop_reason == "refusal"
    assert answer.content[0].text == REPLY  # type: ignore[union-attr]
    with claude.messages.stream(model="m", max_tokens=8, messages=user(block(HOPELESS))) as stream:
        last = stream.get_final_message()
    assert (last.stop_reason, last.content[0].text) == ("refusal", REPLY)  # type: ignore[union-attr]
    assert recorded.requests == []


def test_errors_are_those_of_the_clients(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, recorded: Recorded
) -> None:
    with pytest.raises(openai.BadRequestError, match="file id|image bytes") as caught:
        gpt.responses.create(model="m", input=user({"type": "input_image", "file_id": "file-abc1"}))
    assert caught.value.code == "unsupported_type"
    remote: Any = {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}
    with pytest.raises(anthropic.BadRequestError, match="URL"):
        claude.messages.create(model="m", max_tokens=8, messages=user(remote))
    with pytest.raises(anthropic.AuthenticationError):
        claude.with_options(api_key="another-key-altogether").messages.create(
            model="m", max_tokens=8, messages=user(block(UNSAFE))
        )
    with pytest.raises(openai.NotFoundError, match="embeddings"):
        gpt.embeddings.create(model="m", input="x")
    assert recorded.requests == []
    recorded.status, recorded.answer = 429, b'{"type": "error", "error": {"message": "Slow."}}'
    with pytest.raises(anthropic.RateLimitError, match="Slow"):
        claude.messages.create(model="m", max_tokens=8, messages=user(block(UNSAFE)))
    with pytest.raises(openai.RateLimitError, match="Slow"):
        gpt.chat.completions.create(model="m", messages=user(link(UNSAFE)))


def test_langchain(url: str, recorded: Recorded) -> None:
    key = SecretStr(KEY)
    models: list[tuple[Any, Any]] = [
        (ChatOpenAI(base_url=f"{url}/v1", api_key=key, model="m"), link(UNSAFE)),
        (
            ChatOpenAI(base_url=f"{url}/v1", api_key=key, model="m", use_responses_api=True),
            link(UNSAFE),
        ),
        (ChatAnthropic(base_url=url, api_key=key, model_name="m"), block(UNSAFE)),  # type: ignore[call-arg]
    ]
    for model, part in models:
        question = [HumanMessage([part])]
        assert model.invoke(question).text == "Blue thing"
        assert is_clean(recorded)
        assert "".join(chunk.text for chunk in model.stream(question)) == "Blue thing"
