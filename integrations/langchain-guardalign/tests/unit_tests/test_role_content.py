from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.messages import parse_messages
from guardalign_middleware.testing import base64_png, data_url, picture, png
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign.role_content import to_role_content

IMAGE = picture(red=True)
B64 = base64_png(IMAGE)
URL = data_url(IMAGE)

FORMS: dict[str, Any] = {
    "v1 base64": {"type": "image", "base64": B64, "mime_type": "image/png"},
    "v1 data url": {"type": "image", "url": URL},
    "v0 base64": {
        "type": "image",
        "source_type": "base64",
        "data": B64,
        "mime_type": "image/png",
    },
    "v0 url": {"type": "image", "source_type": "url", "url": URL},
    "openai": {"type": "image_url", "image_url": {"url": URL}},
    "openai with detail": {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
    "openai string": {"type": "image_url", "image_url": URL},
    "openai responses": {"type": "input_image", "image_url": URL},
    "openai file": {"type": "file", "file": {"filename": "a.png", "file_data": URL}},
    "anthropic": {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": B64},
    },
    "bedrock": {"image": {"format": "png", "source": {"bytes": png(IMAGE)}}},
    "google": {"type": "media", "mime_type": "image/png", "data": B64},
    "google bytes": {"type": "media", "mime_type": "image/png", "data": png(IMAGE)},
    "v1 file": {"type": "file", "base64": B64, "mime_type": "image/png"},
    "mcp": {"type": "image", "data": B64, "mimeType": "image/png"},
    "transformers": {"type": "image", "image": png(IMAGE)},
    "non-standard": {
        "type": "non_standard",
        "value": {"type": "input_image", "image_url": URL},
    },
    "nested in a tool result": {
        "type": "tool_result",
        "content": [{"type": "image_url", "image_url": {"url": URL}}],
    },
}


def images_of(*messages: BaseMessage, policy: IntakePolicy | None = None) -> list[CanonicalImage]:
    parsed = parse_messages(to_role_content(messages), policy or IntakePolicy())
    return [image for message in parsed for image in message.images]


@pytest.mark.parametrize("block", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize(
    "kind", [HumanMessage, SystemMessage, AIMessage, lambda c: ToolMessage(c, tool_call_id="1")]
)
def test_every_form_in_every_role_is_the_same_picture(kind: Any, block: dict[str, Any]) -> None:
    message = kind([{"type": "text", "text": "look"}, block])
    images = images_of(HumanMessage("hello"), message)
    assert [image.sha256 for image in images] == [IMAGE.sha256]


REFUSED: dict[str, Any] = {
    "http": {"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}},
    "https string": {"type": "image_url", "image_url": "https://example.org/a.png"},
    "v1 url": {"type": "image", "url": "https://example.org/a.png"},
    "file url": {"type": "image", "url": "file:///etc/passwd"},
    "path": {"type": "image", "path": "/etc/passwd"},
    "path as image": {"type": "image", "image": "/etc/passwd"},
    "file id": {"type": "image", "file_id": "file-1"},
    "google uri": {"type": "media", "mime_type": "image/png", "file_uri": "gs://bucket/a.png"},
    "anthropic url": {"type": "image", "source": {"type": "url", "url": "https://example.org/a"}},
    "bedrock location": {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://a"}}}},
    "no image": {"type": "image"},
}


@pytest.mark.parametrize("block", REFUSED.values(), ids=REFUSED.keys())
def test_an_image_behind_a_network_or_a_disk_is_refused(block: dict[str, Any]) -> None:
    with pytest.raises(ImageRejected):
        images_of(HumanMessage([block]))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "base64": B64, "mime_type": "audio/wav"},
        {"type": "video", "base64": B64, "mime_type": "video/mp4"},
        {"type": "file", "base64": B64, "mime_type": "application/zip"},
        {"type": "media", "mime_type": "video/mp4", "data": B64},
        {"type": "hologram", "image": B64},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "image", "source": {"data": B64, "media_type": "image/png", "url": URL}},
        {},
    ],
)
def test_an_unknown_block_raises_and_names_the_place(block: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match=r"messages\[1\]\.content\[0\]"):
        to_role_content([HumanMessage("hello"), HumanMessage([block])])


def test_roles_and_texts() -> None:
    history = [
        SystemMessage("be brief"),
        HumanMessage(["one", {"type": "text", "text": "two"}]),
        AIMessage("", tool_calls=[{"name": "look", "args": {"x": 1}, "id": "1"}]),
        ToolMessage("seen", tool_call_id="1"),
        FunctionMessage("seen again", name="look"),
        ChatMessage("three", role="developer"),
        ChatMessage("four", role="human"),
    ]
    parsed = parse_messages(to_role_content(history))
    assert [(message.role, message.text) for message in parsed] == [
        ("system", "be brief"),
        ("user", "one\ntwo"),
        ("assistant", '\n[called look with {"x": 1}]'),
        ("tool", "seen"),
        ("tool", "seen again"),
        ("system", "three"),
        ("user", "four"),
    ]


def test_reasoning_is_not_shown_again() -> None:
    message = AIMessage(
        [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "reasoning", "reasoning": "hm"},
            {"type": "tool_use", "id": "1", "name": "look", "input": {}},
            {"type": "text", "text": "yes"},
        ]
    )
    assert to_role_content([message])[0]["content"] == [{"type": "text", "text": "yes"}]


@pytest.mark.parametrize("message", [RemoveMessage(id="1"), ChatMessage("x", role="narrator")])
def test_a_message_that_is_not_a_turn_raises(message: BaseMessage) -> None:
    with pytest.raises(MessageError, match=r"messages\[0\]"):
        to_role_content([message])


def test_messages_are_not_changed() -> None:
    blocks = [{"type": "text", "text": "look"}, FORMS["anthropic"]]
    message = HumanMessage(list(blocks))
    before = message.model_dump_json()
    to_role_content([message])
    assert message.model_dump_json() == before
    assert base64.b64decode(B64) == png(IMAGE)
