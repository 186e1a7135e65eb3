"""`/v1/chat/completions` through OpenAI's own client, over a socket."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai.types.chat import ChatCompletionChunk

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.generation.stream import Emit, TokenStream
from guardalign_middleware.replies import Generated
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import (
    EchoRunner,
    ScriptedRunner,
    all_red,
    data_url,
    picture,
    red_chain,
)
from guardalign_middleware.types import Message, TextPart
from tests.support.serving import KEY

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string"}, "n": {"type": "integer"}},
        },
    },
}


def about(*pictures: bool, text: str = "what is it?") -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url(picture(red=red))}} for red in pictures
    ]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def tools_client(tools_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{tools_url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, messages: Any = "hello", **options: Any) -> Any:
    if isinstance(messages, str):
        messages = about(text=messages)
    return client.chat.completions.create(model="red", messages=messages, **options)


def guardalign(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.model_extra["guardalign"]
    return found


def test_an_answer(client: openai.OpenAI) -> None:
    answer = ask(client)
    assert answer.choices[0].message.content == "echo: hello"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.model, answer.object) == ("red", "chat.completion")
    assert answer.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
    }
    assert guardalign(answer)["decision"] is None


def test_pictures_are_cleaned_and_their_verdicts_told(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="red", messages=about(False, True))
    answer = raw.parse()
    assert answer.choices[0].message.content == "echo: what is it? [2 images]"
    report = guardalign(answer)
    assert report["decision"] == "mask"
    assert [each["decision"] for each in report["verdicts"]] == ["allow", "mask"]
    assert report["verdicts"][1]["regions"][0]["category"] == "weapon"
    assert report["calibration"]["state"] == "off"
    headers = {name: value for name, value in raw.headers.items() if name.startswith("x-guard")}
    assert headers == {
        "x-guardalign-decision": "mask",
        "x-guardalign-images": "2",
        "x-guardalign-calibration": "off",
    }


def blocked() -> list[dict[str, Any]]:
    url = {"url": data_url(all_red())}
    parts = [{"type": "image_url", "image_url": url}, {"type": "text", "text": "?"}]
    return [{"role": "user", "content": parts}]


def test_a_blocked_picture_is_a_refusal_by_the_content_filter(client: openai.OpenAI) -> None:
    answer = ask(client, blocked())
    choice = answer.choices[0]
    assert choice.finish_reason == "content_filter"
    assert choice.message.content is None
    assert choice.message.refusal == "I cannot help with this image."
    assert guardalign(answer)["decision"] == "block"
    assert answer.usage.total_tokens == 0


def streamed(client: openai.OpenAI, messages: Any = "a b c", **options: Any) -> Any:
    return list(ask(client, messages, stream=True, **options))


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_a_stream_tells_the_verdicts_first_and_the_calibration_last(client: openai.OpenAI) -> None:
    chunks = streamed(client, about(True))
    assert text_of(chunks) == "echo: what is it? [1 image]"
    assert len(chunks) >= 6
    assert chunks[0].choices[0].delta.role == "assistant"
    assert guardalign(chunks[0])["decision"] == "mask"
    assert "calibration" not in guardalign(chunks[0])
    assert guardalign(chunks[-1])["calibration"]["state"] == "off"
    assert [c.choices[0].finish_reason for c in chunks][-2:] == [None, "stop"]
    assert all(c.usage is None for c in chunks)
    assert len({c.id for c in chunks}) == 1


def test_a_stream_can_end_with_the_usage(client: openai.OpenAI) -> None:
    chunks = streamed(client, stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 7
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_a_stream_of_a_blocked_picture_is_a_refusal(client: openai.OpenAI) -> None:
    chunks = streamed(client, blocked())
    said = "".join(c.choices[0].delta.refusal or "" for c in chunks)
    assert said == "I cannot help with this image."
    assert text_of(chunks) == ""
    assert chunks[-1].choices[0].finish_reason == "content_filter"


def test_a_stream_ends_with_done(url: str) -> None:
    body = {"model": "red", "messages": about(), "stream": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers)
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-guardalign-decision"] == "none"


@pytest.mark.parametrize(
    ("options", "text", "finish"),
    [
        ({"max_completion_tokens": 2}, "echo: one", "length"),
        ({"max_tokens": 2}, "echo: one", "length"),
        ({"stop": "two"}, "echo: one", "stop"),
        ({"stop": ["three", "one"]}, "echo:", "stop"),
        ({"temperature": 0.5, "seed": 3, "n": 1, "top_p": 1}, "echo: one two three", "stop"),
        ({"response_format": {"type": "text"}, "user": "u"}, "echo: one two three", "stop"),
        ({"tool_choice": "none", "tools": [TOOL]}, "echo: one two three", "stop"),
    ],
)
def test_options(client: openai.OpenAI, options: dict[str, Any], text: str, finish: str) -> None:
    answer = ask(client, "one two three", **options)
    assert answer.choices[0].message.content == text
    assert answer.choices[0].finish_reason == finish


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 2}, "n"),
        ({"top_p": 0.9}, "top_p"),
        ({"frequency_penalty": 1.0}, "frequency_penalty"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"tools": [TOOL]}, "tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": []}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities.1"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"store": True}, "store"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"max_completion_tokens": 5000}, "max_completion_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"stop": [""]}, "stop.0"),
        ({"stop": 3}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: openai.OpenAI, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, extra_body=options)
    assert caught.value.param == param
    assert param.split(".")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"role": "robot", "content": "x"}], "invalid_message"),
        ([{"role": "assistant", "content": "x"}], "invalid_message"),
        ([{"content": "x"}], "invalid_message"),
        ([], "invalid_value"),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
            "invalid_message",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "/etc/passwd"}}],
                }
            ],
            "path_not_allowed",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}
                    ],
                }
            ],
            "url_not_allowed",
        ),
    ],
)
def test_messages_that_cannot_be_read(client: openai.OpenAI, messages: Any, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, messages)
    assert caught.value.code == code


def test_an_unknown_model_and_the_legacy_endpoint_are_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="This server has 'red'") as caught:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="is_chat_model"):
        client.completions.create(model="red", prompt="x")


def test_a_wrong_key(url: str) -> None:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        ask(client)
    assert caught.value.code == "invalid_api_key"


def test_tools(tools_client: openai.OpenAI) -> None:
    answer = ask(tools_client, tools=[TOOL], tool_choice="auto", parallel_tool_calls=True)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see."
    (call,) = choice.message.tool_calls
    assert (call.function.name, call.type) == ("look_up", "function")
    assert json.loads(call.function.arguments) == {"word": "fish", "n": 2}


def test_tools_in_a_stream(tools_client: openai.OpenAI) -> None:
    chunks = streamed(tools_client, tools=[TOOL])
    assert text_of(chunks) == "Let me see."
    calls = [call for c in chunks for call in c.choices[0].delta.tool_calls or ()]
    assert [(call.index, call.function.name) for call in calls] == [(0, "look_up")]
    assert json.loads(calls[0].function.arguments) == {"word": "fish", "n": 2}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_calls_of_earlier_turns_reach_the_model_as_it_writes_them() -> None:
    runner = ScriptedRunner("done")
    app = create_app(red_chain(runner=runner))
    call = {"name": "look_up", "arguments": '{"word": "fish"}'}
    broken = {"name": "look_up", "arguments": '{"word": '}
    messages = [
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"id": "1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "a swimmer"},
        {"role": "assistant", "content": None, "function_call": broken},
        {"role": "user", "content": "so?"},
    ]
    with TestClient(app, base_url="http://localhost") as client:
        for tools in ([TOOL], None):
            body = {"model": "red", "messages": messages, "tools": tools}
            assert client.post("/v1/chat/completions", json=body).status_code == 200
    own, words = (call.messages for call in runner.calls)
    written = '<tool_call>\n{"name": "look_up", "arguments": {"word": "fish"}}\n</tool_call>'
    assert own[1].text == f"Let me see.\n{written}"
    assert words[1].text == 'Let me see.\n[called look_up with {"word": "fish"}]'
    assert own[2] == words[2] == Message("tool", (TextPart("a swimmer"),))
    assert own[3].text == words[3].text == '[called look_up with {"word": ]'


def post(app: FastAPI, **body: Any) -> Any:
    with TestClient(app, base_url="http://localhost") as client:
        return client.post("/v1/chat/completions", json={"model": "red", **body})


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"max_images": 1}, "2 pictures"),
        ({"max_pixels": 5000}, "8,192 pixels"),
        ({"max_text_characters": 10}, "11 characters"),
    ],
)
def test_a_request_has_a_budget(limits: dict[str, int], what: str) -> None:
    chain = red_chain()
    app = create_app(chain, ServeOptions(ServeConfig(**limits)))
    answer = post(app, messages=about(False, False))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_much")
    assert what in answer.json()["error"]["message"]
    assert isinstance(chain.runner, EchoRunner)
    assert chain.runner.calls == []


def test_an_older_picture_beyond_the_budget_is_no_notice() -> None:
    app = create_app(red_chain(), ServeOptions(ServeConfig(max_images=1)))
    older = [*about(False), {"role": "assistant", "content": "blue"}, *about(False)]
    assert post(app, messages=older).status_code == 413


@pytest.mark.parametrize("stream", [False, True])
def test_a_lost_device_ends_the_taking_of_requests(stream: bool) -> None:
    class Lost(EchoRunner):
        def generate(self, *args: Any, **kwargs: Any) -> Any:
            raise torch.AcceleratorError("secret", 1)

    app = create_app(red_chain(runner=Lost()))
    answer = post(app, messages=about(), stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "device_lost")
    assert post(app, messages=about()).json()["error"]["code"] == "unavailable"
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/health").status_code == 503


def test_a_fault_in_a_stream_is_an_error_and_no_end() -> None:
    class Broken(EchoRunner):
        def stream(self, *args: Any, **kwargs: Any) -> TokenStream:
            def produce(emit: Emit, cancel: threading.Event) -> Generated:
                emit("half")
                raise ValueError("secret")

            return TokenStream(produce)

    answer = post(create_app(red_chain(runner=Broken())), messages=about(), stream=True)
    *said, error = answer.text.strip().split("\n\n")
    assert '"content":"half"' in said[-1]
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "fault_at_generation"
    assert "secret" not in answer.text
    assert "DONE" not in answer.text
    assert '"finish_reason":"' not in answer.text


def test_a_call_that_cannot_be_read_is_shown_as_it_was_written() -> None:
    text = 'Hm.<tool_call>\n{"name": "look_up", "arguments": \n</tool_call>'
    app = create_app(red_chain(runner=ScriptedRunner(text)))
    whole = post(app, messages=about(), tools=[TOOL]).json()["choices"][0]
    assert (whole["message"]["content"], whole["finish_reason"]) == (text, "stop")
    streamed = post(app, messages=about(), tools=[TOOL], stream=True)
    events = [json.loads(line[6:]) for line in streamed.text.split("\n\n")[:-2]]
    deltas = [each["choices"][0]["delta"] for each in events]
    assert "".join(delta.get("content") or "" for delta in deltas) == text
