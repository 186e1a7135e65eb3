"""`/v1/responses` through OpenAI's own client, over a socket."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient

from guardalign_middleware.serving import create_app
from guardalign_middleware.testing import ScriptedRunner, all_red, data_url, picture, red_chain
from guardalign_middleware.types import Message, TextPart
from tests.support.serving import KEY

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

TOOL: dict[str, Any] = {
    "type": "function",
    "name": "look_up",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    "strict": False,
}


def about(url: str, text: str = "what is it?") -> list[dict[str, Any]]:
    parts = [
        {"type": "input_text", "text": text},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    return [{"role": "user", "content": parts}]


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
def tools_client(tools_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{tools_url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, asked: Any = "hello", **options: Any) -> Any:
    return client.responses.create(model="red", input=asked, **options)


def test_an_answer(client: openai.OpenAI) -> None:
    answer = ask(client, instructions="Be brief.", temperature=0.5)
    assert answer.output_text == "echo: hello"
    assert (answer.status, answer.model, answer.instructions) == ("completed", "red", "Be brief.")
    assert answer.usage.total_tokens == 5
    assert answer.model_extra["guardalign"]["decision"] is None


def test_pictures_are_cleaned_and_their_verdicts_told(client: openai.OpenAI) -> None:
    raw = client.responses.with_raw_response.create(
        model="red",
        input=about(data_url(picture(red=True))),  # type: ignore[arg-type]
    )
    answer = raw.parse()
    assert answer.output_text == "echo: what is it? [1 image]"
    assert raw.headers["x-guardalign-decision"] == "mask"
    assert answer.model_extra is not None
    assert answer.model_extra["guardalign"]["verdicts"][0]["decision"] == "mask"


def test_a_blocked_picture_is_a_refusal(client: openai.OpenAI) -> None:
    answer = ask(client, about(data_url(all_red())))
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "content_filter")
    (part,) = answer.output[0].content
    assert (part.type, part.refusal) == ("refusal", "I cannot help with this image.")


def test_an_answer_that_is_too_long_is_incomplete(client: openai.OpenAI) -> None:
    answer = ask(client, "one two three", max_output_tokens=2)
    assert (answer.output_text, answer.status) == ("echo: one", "incomplete")
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_a_stream_is_what_the_client_assembles(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model="red",
        input=about(data_url(picture(red=True))),  # type: ignore[arg-type]
    ) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == "echo: what is it? [1 image]"
    kinds = [each.type for each in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert len([kind for kind in kinds if kind == "response.output_text.delta"]) == 6
    assert [each.sequence_number for each in events] == list(range(len(events)))
    assert events[0].response.model_extra["guardalign"]["decision"] == "mask"
    assert final.model_extra is not None
    assert final.model_extra["guardalign"]["calibration"]["state"] == "off"


def test_a_stream_of_a_blocked_picture_is_a_refusal(client: openai.OpenAI) -> None:
    events = list(ask(client, about(data_url(all_red())), stream=True))
    said = [each.delta for each in events if each.type == "response.refusal.delta"]
    assert "".join(said) == "I cannot help with this image."
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "content_filter"


def test_tools(tools_client: openai.OpenAI) -> None:
    answer = ask(tools_client, tools=[TOOL])
    text, call = answer.output
    assert text.content[0].text == "Let me see."
    assert (call.type, call.name) == ("function_call", "look_up")
    assert json.loads(call.arguments) == {"word": "fish", "n": 2}


def test_tools_in_a_stream(tools_client: openai.OpenAI) -> None:
    with tools_client.responses.stream(model="red", input="go", tools=[TOOL]) as stream:
        kinds = [each.type for each in stream]
        final = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert [each.type for each in final.output] == ["message", "function_call"]


def test_an_answer_of_no_words_is_an_empty_message() -> None:
    with TestClient(create_app(red_chain(runner=ScriptedRunner(""))), "http://localhost") as client:
        body = {"model": "red", "input": "x"}
        whole = client.post("/v1/responses", json=body).json()
        streamed = client.post("/v1/responses", json={**body, "stream": True}).text
    assert [part["text"] for part in whole["output"][0]["content"]] == [""]
    last = json.loads(streamed.strip().split("\n\n")[-1].split("data: ")[1])
    assert last["response"]["output"][0]["content"] == whole["output"][0]["content"]


def test_items_of_earlier_turns_reach_the_model() -> None:
    runner = ScriptedRunner("done")
    items = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
        {"type": "reasoning", "id": "r", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Let me see.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "1", "name": "a", "arguments": '{"n": 1}'},
        {"type": "function_call", "call_id": "2", "name": "b", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "1",
            "output": [
                {"type": "input_text", "text": "this"},
                {"type": "input_image", "image_url": data_url(picture(red=True))},
            ],
        },
        {"type": "function_call_output", "call_id": "2", "output": "that"},
    ]
    with TestClient(create_app(red_chain(runner=runner)), "http://localhost") as client:
        body = {"model": "red", "input": items, "tools": [TOOL]}
        answer = client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-guardalign-decision"] == "mask"
    messages = [each for each in runner.calls[0].messages if each.parts != (TextPart(""),)]
    assert [each.role for each in messages] == ["system", "user", "assistant", "tool", "tool"]
    assert messages[2].text == (
        'Let me see.\n<tool_call>\n{"name": "a", "arguments": {"n": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "b", "arguments": {}}\n</tool_call>'
    )
    assert (messages[3].text, len(messages[3].images)) == ("this", 1)
    assert messages[4] == Message("tool", (TextPart("that"),))


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [{**TOOL, "strict": True}]}, "tools.0.strict"),
        ({"tools": [TOOL]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format.type"),
        ({"reasoning": {"effort": "low"}}, "reasoning"),
        ({"max_output_tokens": 5000}, "max_output_tokens"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"input": 3}, "input"),
        ({"include": ["file_search_call.results"]}, "include.0"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: openai.OpenAI, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, extra_body=options)
    assert caught.value.param == param


def test_a_picture_that_is_only_named_is_refused(client: openai.OpenAI) -> None:
    parts = [{"type": "input_image", "file_id": "file_1"}, {"type": "input_text", "text": "?"}]
    with pytest.raises(openai.BadRequestError, match="send a data URL"):
        ask(client, [{"role": "user", "content": parts}])
