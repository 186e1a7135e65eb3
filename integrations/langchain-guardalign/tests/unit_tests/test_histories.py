"""Histories that other models wrote, in the shapes that LangChain's own converters make."""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_openai.chat_models._compat import (
    _convert_from_v1_to_responses,
    _convert_to_v03_ai_message,
)
from langchain_openai.chat_models.base import _construct_lc_result_from_responses_api
from openai.types.responses import Response

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.messages import ParsedConversation, read_conversation
from guardalign_middleware.testing import EchoRunner, data_url, has_red, picture, png, red_chain
from guardalign_middleware.testing.dialects import blocks_of
from guardalign_middleware.testing.histories import BLOCKS, INERT, SPOKEN, planted
from langchain_guardalign import ChatGuardAlign
from langchain_guardalign.role_content import to_role_content

PICTURE = picture(red=True)
RAW = png(PICTURE)
B64 = base64.b64encode(RAW).decode()
URL = data_url(PICTURE)
CALL = {"name": "look", "args": {"x": 1}, "id": "call_1"}


def read(*messages: BaseMessage) -> ParsedConversation:
    return read_conversation(to_role_content([HumanMessage("Hi"), *messages, HumanMessage("So?")]))


def texts(parsed: ParsedConversation) -> list[str]:
    return [message.text for message in parsed.messages][1:-1]


def kinds(parsed: ParsedConversation) -> list[str]:
    return [item.kind for item in parsed.dropped]


def pictures(parsed: ParsedConversation) -> list[str]:
    return [image.sha256 for message in parsed.messages for image in message.images]


@pytest.mark.parametrize("block", INERT.values(), ids=INERT.keys())
@pytest.mark.parametrize(
    "kind", [HumanMessage, AIMessage, SystemMessage, lambda c: ToolMessage(c, tool_call_id="1")]
)
def test_what_has_no_text_and_no_picture_is_dropped(kind: Any, block: dict[str, Any]) -> None:
    parsed = read(kind([block, {"type": "text", "text": "Yes."}]))
    assert texts(parsed) == ["Yes."]
    (dropped,) = parsed.dropped
    assert dropped.place.startswith("messages[1].content[0]")


@pytest.mark.parametrize(("block", "text"), SPOKEN.values(), ids=SPOKEN.keys())
def test_text_is_read_in_every_form(block: dict[str, Any], text: str) -> None:
    parsed = read(AIMessage([block]))
    assert (texts(parsed), parsed.dropped) == ([text], ())


@given(st.lists(st.sampled_from(list(BLOCKS.values())), max_size=6))
def test_what_langchain_makes_of_a_history_is_read_too(blocks: list[Any]) -> None:
    """`content_blocks` translates by the provider that a message names."""
    for provider in (None, "openai", "anthropic", "bedrock_converse", "google_genai", "groq"):
        metadata = {} if provider is None else {"model_provider": provider}
        message = AIMessage(deepcopy(blocks), response_metadata=metadata)
        read(message)
        try:
            standard = message.content_blocks
        except (KeyError, TypeError, AttributeError, ValueError):
            continue  # LangChain expects blocks of that provider only.
        read(AIMessage(list(standard)))


@given(st.data())
def test_an_inert_block_changes_nothing_that_the_model_sees(data: st.DataObject) -> None:
    image = {"type": "image", "base64": B64, "mime_type": "image/png"}
    words = st.sampled_from([image, "words", *(block for block, _ in SPOKEN.values())])
    content = data.draw(st.lists(words, max_size=4))
    more = list(content)
    for block in data.draw(st.lists(st.sampled_from(list(INERT.values())), max_size=4)):
        more.insert(data.draw(st.integers(0, len(more))), block)
    before, after = (read(AIMessage(each, tool_calls=[CALL])) for each in (content, more))
    assert texts(before) == texts(after)
    assert pictures(before) == pictures(after)


# In a text, a data URL is only words.
@pytest.mark.parametrize(
    "dialect",
    sorted({*blocks_of(b"", ""), "bytes", "base64", "address", "film"} - {"text with a data url"}),
)
def test_a_picture_in_any_block_is_found_or_refused(dialect: str) -> None:
    plants: dict[str, Any] = {
        **blocks_of(RAW, "image/png"),
        "bytes": RAW,
        "base64": B64,
        "address": {"type": "image_url", "image_url": "https://example.org/a.png"},
        "film": {"type": "video", "base64": B64, "mime_type": "video/mp4"},
    }
    for name, block in BLOCKS.items():
        for bent in planted(block, plants[dialect]):
            try:
                parsed = read(AIMessage([bent]))
            except (MessageError, ImageRejected):
                continue
            assert pictures(parsed) == [PICTURE.sha256], (name, bent)


def response(*output: dict[str, Any]) -> Response:
    return Response.model_validate(
        {
            "id": "resp_1",
            "created_at": 0,
            "model": "gpt-5",
            "object": "response",
            "output": list(output),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
    )


ANSWER: list[dict[str, Any]] = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "Look first."}],
    },
    {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "cats", "queries": ["cats"]},
    },
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "A cat.", "annotations": []},
            {"type": "refusal", "refusal": "No more."},
        ],
    },
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "look",
        "arguments": '{"x": 1}',
        "status": "completed",
    },
    {
        "type": "function_call",
        "id": "fc_2",
        "call_id": "call_2",
        "name": "look",
        "arguments": '{"x": ',
        "status": "completed",
    },
]
SAYS = 'A cat.\nNo more.\n[called look with {"x": 1}]'


def answer(version: str, *more: dict[str, Any]) -> AIMessage:
    """The answer of OpenAI's Responses API, as langchain-openai stores it."""
    result = _construct_lc_result_from_responses_api(
        response(*ANSWER, *more), output_version=version
    )
    message = result.generations[0].message
    assert isinstance(message, AIMessage)
    return message


@pytest.mark.parametrize("version", ["responses/v1", "v1"])
def test_a_response_of_openai(version: str) -> None:
    message = answer("responses/v1")
    if version == "v1":
        message = message.model_copy(update={"content": message.content_blocks})
    parsed = read(message)
    assert texts(parsed) == [SAYS]
    assert {"reasoning", "invalid_tool_call"} <= set(kinds(parsed))
    assert "function_call" not in kinds(parsed)  # Its call is written in words.
    assert "tool_call" not in kinds(parsed)


def test_a_response_of_openai_in_the_old_format() -> None:
    drawn = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": B64}
    message = _convert_to_v03_ai_message(answer("v0", drawn))
    assert message.additional_kwargs["tool_outputs"]
    parsed = read(message)
    assert texts(parsed)[0].startswith("A cat.")
    assert pictures(parsed) == [PICTURE.sha256]
    assert "web_search_call" in kinds(parsed)
    refused = AIMessage("", additional_kwargs={"refusal": "I cannot."})
    assert texts(read(refused)) == ["I cannot."]


def test_a_response_after_langchains_round_trip() -> None:
    message = answer("responses/v1")
    blocks = _convert_from_v1_to_responses(message.content_blocks, message.tool_calls)
    assert texts(read(AIMessage(blocks, tool_calls=message.tool_calls))) == [SAYS]


def test_an_answer_of_anthropic_with_thinking_and_tools() -> None:
    message = AIMessage(
        [
            {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
            {"type": "text", "text": "I look.", "citations": []},
            {"type": "tool_use", "id": "call_1", "name": "look", "input": {"x": 1}},
        ],
        tool_calls=[CALL],
        response_metadata={"model_provider": "anthropic"},
    )
    result = ToolMessage([{"type": "text", "text": "seen"}], tool_call_id="call_1")
    for first in (message, message.model_copy(update={"content": message.content_blocks})):
        parsed = read(first, result)
        assert texts(parsed) == ['I look.\n[called look with {"x": 1}]', "seen"]
        assert len(parsed.dropped) == 1


def test_a_stream_that_was_joined() -> None:
    chunks = [
        AIMessageChunk([{"type": "reasoning", "id": "rs_1", "summary": [], "index": 0}]),
        AIMessageChunk([{"type": "text", "text": "A ", "index": 1}]),
        AIMessageChunk([{"type": "text", "text": "cat.", "index": 1}]),
        AIMessageChunk([{"type": "text", "annotations": [{"type": "citation"}], "index": 2}]),
        AIMessageChunk([{"type": "function_call", "arguments": '{"x', "index": 3}]),
    ]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert texts(read(whole)) == ["A cat."]


def test_dictionaries_of_openai() -> None:
    history = convert_to_messages(
        [
            {"role": "developer", "content": ""},
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "look", "arguments": '{"x": 1}'},
                    }
                ],
            },
            {"role": "tool", "content": "", "tool_call_id": "1"},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": "So?"},
        ]
    )
    parsed = read_conversation(to_role_content(history))
    assert [(message.role, message.text.strip()) for message in parsed.messages] == [
        ("user", "Hi"),
        ("assistant", '[called look with {"x": 1}]'),
        ("tool", ""),
        ("assistant", ""),
        ("user", "So?"),
    ]


@pytest.mark.parametrize(
    ("name", "role"), [("Developer", "system"), ("function", "tool"), ("model", "assistant")]
)
def test_roles_of_other_providers(name: str, role: str) -> None:
    assert read(ChatMessage("x", role=name)).messages[1].role == role


def test_a_screenshot_of_a_computer_call() -> None:
    for content in (URL, [{"type": "input_image", "image_url": URL}]):
        message = ToolMessage(
            content, tool_call_id="1", additional_kwargs={"type": "computer_call_output"}
        )
        assert pictures(read(message)) == [PICTURE.sha256]
    assert texts(read(ToolMessage(URL, tool_call_id="1"))) == [URL]


def test_a_block_with_two_pictures_is_refused() -> None:
    for block in blocks_of(RAW, "image/png").values():
        if block.get("type") in {"text", "tool_result", "non_standard"}:
            continue
        with pytest.raises((MessageError, ImageRejected), match=r"messages\[1\]\.content\[0\]"):
            read(HumanMessage([{**block, "thumbnail": URL}]))


class TestModel:
    def test_the_reply_names_what_was_dropped(self) -> None:
        model = ChatGuardAlign(chain=red_chain())
        history = [HumanMessage("Hi"), answer("responses/v1"), HumanMessage("So?")]
        whole = model.invoke(history).response_metadata["guardalign"]["dropped"]
        assert whole[0] == {"type": "reasoning", "count": 1, "place": "messages[1].content[0]"}
        assert [item["type"] for item in whole][1:] == ["web_search_call", "invalid_tool_call"]
        *_, last = model.stream(history)
        assert last.response_metadata["guardalign"]["dropped"] == whole

    def test_nothing_is_said_if_nothing_was_dropped(self) -> None:
        reply = ChatGuardAlign(chain=red_chain()).invoke([HumanMessage("Hi")])
        assert set(reply.response_metadata["guardalign"]) == {
            *("verdicts", "masked", "blocked", "calibration", "seal")
        }

    def test_a_picture_in_a_result_is_cleaned(self) -> None:
        runner = EchoRunner()
        model = ChatGuardAlign(chain=red_chain(runner=runner))
        result = {
            "type": "server_tool_result",
            "tool_call_id": "s1",
            "output": [{"type": "image", "base64": B64, "mime_type": "image/png"}],
        }
        model.invoke([HumanMessage("Hi"), AIMessage([result]), HumanMessage("So?")])
        (image,) = runner.calls[0].images
        assert not has_red(image)
