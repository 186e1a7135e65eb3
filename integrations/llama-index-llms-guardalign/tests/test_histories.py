"""Histories that other models wrote: read, dropped with a note, or refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    CacheControl,
    CachePoint,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms import ChatMessage, ImageBlock, MessageRole, TextBlock
from pydantic import BaseModel

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.messages import ParsedConversation, read_conversation
from guardalign_middleware.testing import EchoRunner, data_url, has_red, picture, png, red_chain
from llama_index.llms.guardalign import GuardAlignMultiModal
from llama_index.llms.guardalign.images import Resolver
from llama_index.llms.guardalign.messages import to_role_content
from llama_index_support.conversations import BLOCKED, ask, image_block

PICTURE = picture(red=True)
RAW = png(PICTURE)
URL = data_url(PICTURE)


class Mood(BaseContentBlock):
    """A block of a provider yet to come."""

    block_type: str = "mood"
    level: int = 3
    inner: Any = None


class Remark(BaseContentBlock):
    """Another one, with text."""

    block_type: str = "remark"
    text: str = "words"
    inner: Any = None


class Usage(BaseModel):
    tokens: int = 3


INERT: list[BaseContentBlock] = [
    ThinkingBlock(content="hm", additional_information={"signature": "EqQB", "usage": Usage()}),
    ThinkingBlock(content=f"I see ![]({URL}) in the page."),
    ThinkingBlock(additional_information={"signature": b"\x01\x02opaque"}),
    CachePoint(cache_control=CacheControl(type="ephemeral")),
    CacheControl(type="ephemeral"),
    Mood(),
]
WORDS = TextBlock(text="words")
SPOKEN: list[tuple[BaseContentBlock, str]] = [
    (TextBlock(text="words"), "words"),
    (ToolCallBlock(tool_name="look", tool_kwargs={"x": 1}), '[called look with {"x": 1}]'),
    (ToolCallBlock(tool_name="look", tool_kwargs='{"x'), '[called look with {"x]'),
    (CitableBlock(title="t", source="s", content=[TextBlock(text="words")]), "words"),
    (
        CitationBlock(
            title="t",
            source="s",
            cited_content=TextBlock(text="words"),
            additional_location_info={},
        ),
        "words",
    ),
    (Remark(), "words"),
]


def turn(*blocks: Any, role: str = "assistant", **extra: Any) -> ChatMessage:
    message = ChatMessage(role=role, additional_kwargs=extra)
    message.blocks = list(blocks)
    return message


def read(*messages: ChatMessage) -> ParsedConversation:
    conversation = [ChatMessage("Hi"), *messages, ChatMessage("So?")]
    return read_conversation(to_role_content(conversation, Resolver(IntakePolicy())))


def texts(parsed: ParsedConversation) -> list[str]:
    return [message.text for message in parsed.messages][1:-1]


@pytest.mark.parametrize("block", INERT, ids=lambda block: type(block).__name__)
@pytest.mark.parametrize("role", ["user", "assistant", "tool", "system"])
def test_what_has_no_text_and_no_picture_is_dropped(block: Any, role: str) -> None:
    parsed = read(turn(block, TextBlock(text="Yes."), role=role))
    assert texts(parsed) == ["Yes."]
    (dropped,) = parsed.dropped
    assert dropped.place.startswith("messages[1].blocks")
    assert dropped.kind in {"thinking", "cache", "CacheControl", "mood"}


@given(st.data())
def test_an_inert_block_changes_nothing_that_the_model_sees(data: st.DataObject) -> None:
    words = st.sampled_from([(image_block(PICTURE), ""), *SPOKEN])
    content = data.draw(st.lists(words, max_size=4))
    more = [block for block, _ in content]
    for block in data.draw(st.lists(st.sampled_from(INERT), max_size=4)):
        more.insert(data.draw(st.integers(0, len(more))), block)
    before, after = read(turn(*(block for block, _ in content))), read(turn(*more))
    assert texts(before) == texts(after) == ["\n".join(text for _, text in content if text)]
    assert [len(message.images) for message in before.messages] == [
        len(message.images) for message in after.messages
    ]
    assert len(after.dropped) == len(more) - len(content)


@pytest.mark.parametrize(
    "plant",
    [
        RAW,
        list(RAW),
        base64.b64encode(RAW).decode(),
        URL,
        PICTURE.to_pil(),
        PICTURE.pixels,
        ImageBlock(image=RAW),
        ImageBlock(url="https://example.org/a.png"),
        VideoBlock(url="https://example.org/a.mp4"),
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_image", "file_id": "file-abc123"},
    ],
    ids=lambda plant: type(plant).__name__,
)
def test_a_picture_in_any_block_is_found_or_refused(plant: Any) -> None:
    for block in (
        ThinkingBlock(content="hm", additional_information={"deep": [plant]}),
        ThinkingBlock.model_construct(content=plant, additional_information={}),
        CacheControl.model_construct(type=plant, ttl="5m"),
        CachePoint.model_construct(cache_control=plant),
        Mood(inner=plant),
        Mood(inner=[{"deep": plant}]),
        Remark(inner=plant),
    ):
        with pytest.raises(MessageError, match=r"messages\[1\]\.blocks"):
            read(turn(block))


@pytest.mark.parametrize(
    "block",
    [
        AudioBlock(audio=b"beep"),
        VideoBlock(video=b"film"),
        DocumentBlock(data=b"%PDF-1.4", document_mimetype="application/pdf"),
        Mood(inner="https://example.org/a.png"),
        Mood(inner={"file_id": "1"}),
    ],
    ids=lambda block: type(block).__name__,
)
def test_what_could_hold_a_picture_is_refused(block: Any) -> None:
    with pytest.raises((MessageError, ImageRejected)):
        read(turn(block))


@pytest.mark.parametrize("role", list(MessageRole))
def test_every_role_is_read(role: MessageRole) -> None:
    expected = {"system": "system", "developer": "system", "user": "user"}
    expected |= {"tool": "tool", "function": "tool"}
    (_, message, _) = read(ChatMessage("x", role=role)).messages
    assert message.role == expected.get(role.value, "assistant")


def test_empty_turns() -> None:
    for role in ("system", "developer"):
        assert texts(read(ChatMessage(role=role), ChatMessage("", role=role))) == []
    for role in ("assistant", "tool", "model"):
        assert texts(read(ChatMessage(role=role), ChatMessage("", role=role))) == ["", ""]


def test_what_older_integrations_keep_beside_the_blocks() -> None:
    parsed = read(turn(refusal="I cannot."))
    assert texts(parsed) == ["I cannot."]
    parsed = read(turn(tool_calls=[object()]))
    assert texts(parsed) == [""]
    assert [item.kind for item in parsed.dropped] == ["tool_calls"]
    call = ToolCallBlock(tool_name="look")
    assert read(turn(call, tool_calls=[object()])).dropped == ()


class TestReport:
    def test_it_names_what_was_dropped(self) -> None:
        llm = GuardAlignMultiModal(chain=red_chain())
        history = [ChatMessage("Hi"), turn(*INERT[:2], TextBlock(text="Hello.")), *ask()]
        expected = [{"type": "thinking", "count": 2, "place": "messages[1].blocks"}]
        assert llm.chat(history).raw["guardalign"]["dropped"] == expected
        *_, last = llm.stream_chat(history)
        assert last.raw["guardalign"]["dropped"] == expected
        blocked = llm.chat([*history, *ask(image_block(BLOCKED))])
        assert blocked.raw["guardalign"]["dropped"] == expected

    def test_nothing_is_said_if_nothing_was_dropped(self) -> None:
        system = ChatMessage("", role="system")
        response = GuardAlignMultiModal(chain=red_chain()).chat([system, *ask()])
        assert "dropped" not in response.raw["guardalign"]

    def test_pictures_beside_dropped_blocks_stay_in_order(self) -> None:
        runner = EchoRunner()
        llm = GuardAlignMultiModal(chain=red_chain(runner=runner))
        llm.chat([turn(INERT[0], image_block(PICTURE), role="user"), *ask(image_block(picture()))])
        first, second = runner.calls[0].images
        assert not has_red(first)
        assert second.sha256 == picture().sha256
