"""Conversations that other models wrote: read, dropped or refused, and no picture is missed."""

from __future__ import annotations

import base64
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.block_kinds import ARGUMENTS, KINDS
from guardalign_middleware.intake.messages import (
    ROLES,
    ParsedConversation,
    parse_messages,
    read_conversation,
)
from guardalign_middleware.intake.picture_traces import is_encoded_picture
from guardalign_middleware.replies import Dropped
from guardalign_middleware.testing import all_red, data_url, picture, png, red_chain
from guardalign_middleware.testing.dialects import blocks_of
from guardalign_middleware.testing.histories import BLOCKS, INERT, SPOKEN, planted
from guardalign_middleware.types import Message, TextPart

PICTURE = picture(red=True)
RAW = png(PICTURE)
B64 = base64.b64encode(RAW).decode()
URL = data_url(PICTURE)
KNOWN = list(BLOCKS.values())

PLANTS: dict[str, Any] = {
    "bytes": RAW,
    "view": memoryview(RAW),
    "numbers": list(RAW),
    "numbers of NumPy": list(np.frombuffer(RAW, np.uint8)),
    "base64": B64,
    "base64 with line ends": base64.encodebytes(RAW).decode(),
    "data url": URL,
    "data url of a vector": "data:image/svg+xml;utf8,<svg/>",
    "data url of a PDF": "data:application/pdf;base64,JVBERi0xLjcK",
    "PIL": PICTURE.to_pil(),
    "array": PICTURE.pixels,
    "a file": open,
    **{f"block: {name}": block for name, block in blocks_of(RAW, "image/png").items()},
    "block of an address": {"type": "image_url", "image_url": {"url": "https://a.org/a.png"}},
    "block of a file": {"type": "image", "file_id": "file-abc123"},
    "block of a film": {"type": "video", "url": "https://a.org/a.mp4"},
    "block of a PDF": {"type": "file", "base64": "JVBERi0xLjcK", "mime_type": "application/pdf"},
}
# In a text, a data URL is only words.
del PLANTS["block: text with a data url"]


def history(*blocks: Any) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": "What is in it?"},
        {"role": "assistant", "content": ["Let me see.", *blocks]},
        {"role": "user", "content": "And now?"},
    ]


def texts(parsed: ParsedConversation) -> list[str]:
    return [message.text for message in parsed.messages]


@pytest.mark.parametrize("block", INERT.values(), ids=INERT.keys())
@pytest.mark.parametrize("role", ["user", "assistant", "tool", "system"])
def test_what_has_no_text_and_no_picture_is_dropped_and_noted(
    block: dict[str, Any], role: str
) -> None:
    content = [block, {"type": "text", "text": "Yes."}]
    question = {"role": "user", "content": "Is it?"}
    parsed = read_conversation([question, {"role": role, "content": content}])
    assert texts(parsed) == ["Is it?", "Yes."]
    (dropped,) = parsed.dropped
    assert dropped.place.startswith("messages[1].content[0]")
    assert dropped.kind in {block.get("type"), block.get("name"), *block, "thought", "compaction"}


@pytest.mark.parametrize(("block", "text"), SPOKEN.values(), ids=SPOKEN.keys())
def test_text_is_read_in_every_form(block: dict[str, Any], text: str) -> None:
    parsed = read_conversation(history(block))
    assert texts(parsed)[1] == f"Let me see.\n{text}"
    assert parsed.dropped == ()


@given(st.lists(st.sampled_from(KNOWN), max_size=6), st.sampled_from(["assistant", "tool", "user"]))
def test_a_history_of_known_kinds_is_read(blocks: list[Any], role: str) -> None:
    conversation = [*history(), {"role": role, "content": [*blocks, "!"]}]
    read_conversation(conversation)


@given(st.data())
def test_an_inert_block_changes_nothing_that_the_model_sees(data: st.DataObject) -> None:
    image = {"type": "image", "image": RAW}
    words = st.sampled_from([image, "words", *(block for block, _ in SPOKEN.values())])
    content = data.draw(st.lists(words, max_size=4))
    more = list(content)
    for block in data.draw(st.lists(st.sampled_from(list(INERT.values())), max_size=4)):
        more.insert(data.draw(st.integers(0, len(more))), block)
    before, after = (read_conversation(history(*each)) for each in (content, more))
    assert texts(before) == texts(after)
    assert [m.role for m in before.messages] == [m.role for m in after.messages]
    assert [i.sha256 for m in before.messages for i in m.images] == [
        i.sha256 for m in after.messages for i in m.images
    ]
    assert len(after.dropped) - len(before.dropped) == len(more) - len(content)


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
def test_a_picture_in_any_block_is_found_or_refused(plant: Any) -> None:
    for name, block in BLOCKS.items():
        # Where a block has words, a data URL is words as well.
        for bent in planted(block, plant, instead=name in INERT):
            try:
                parsed = read_conversation(history(bent))
            except (MessageError, ImageRejected):
                continue
            found = [image.sha256 for message in parsed.messages for image in message.images]
            assert found == [PICTURE.sha256], (name, bent)


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_the_table_hides_a_picture(kind: str) -> None:
    for plant in PLANTS.values():
        for block in ({"type": kind, "planted": plant}, {kind: {"planted": plant}}):
            try:
                parsed = read_conversation(history(block))
            except (MessageError, ImageRejected):
                continue
            assert any(message.images for message in parsed.messages), block


def test_arguments_are_words() -> None:
    """A tool that edits files or posts to Slack does not end the conversation."""
    for key in ARGUMENTS:
        for plant in (URL, B64, {"type": "image", "image_url": URL}, [{"path": "/a.png"}]):
            parsed = read_conversation(history({"type": "function_call", key: plant}))
            assert texts(parsed)[1] == "Let me see."
        for raw in (RAW, PICTURE.to_pil(), PICTURE.pixels):
            with pytest.raises(MessageError, match=r"messages\[1\]\.content\[1\]"):
                read_conversation(history({"type": "function_call", key: raw}))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "mystery", "image": "x"},
        {"type": "mystery", "photoUrl": "x"},
        {"type": "mystery", "url": "x"},
        {"type": "mystery", "where": "https://example.org/a"},
        {"type": "mystery", "where": "gs://bucket/a"},
        {"type": "mystery", "asset": "file-abc123"},
        {"type": "mystery", "fileId": "1"},
        {"type": "mystery", "fileId": 1},
        {"type": "mystery", "media": 1},
        {"type": "mystery", "image_ref": np.int64(1)},
        {"type": "mystery", "frames": [1, 2, 3]},
        {"type": "mystery", "raw": b"anything"},
        {"type": "mystery", "raw": list(b"anything but a picture")},
        {"type": "mystery", "inner": {"kind": "screenshot"}},
        {"type": "mystery", "inner": [{"mimeType": "image/avif"}]},
        {"type": "mystery", "html": f"<img src='{URL}'>"},
        {"type": "mystery", "inner": object()},
        {"type": "image_asset_pointer", "asset": "a"},
        {"type": "new_video_frame", "id": "1"},
        {"mysteryPoint": {"imageId": "1"}},
        {},
    ],
)
def test_an_unknown_block_that_could_lead_to_a_picture_is_refused(block: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match=r"messages\[1\]\.content\[1\]") as caught:
        read_conversation(history(block))
    assert "Accepted parts" in caught.value.remedy


@pytest.mark.parametrize("number", [0, 8, 0.5, True, False, np.int64(8), np.float32(8), np.True_])
@pytest.mark.parametrize("key", ["files", "num_frames", "imageTokens", "keep_images", "score"])
def test_a_flag_or_a_count_is_no_picture(key: str, number: object) -> None:
    parsed = read_conversation(history({"type": "mystery", key: number}))
    assert parsed.dropped[0].kind == "mystery"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "reasoning", "mime_type": "image/png", "url": "https://example.org/a"},
        {"type": "cachePoint", "cachePoint": {"mimeType": "image/png", "uri": "s3://bucket/a"}},
        {
            "type": "server_tool_result",
            "output": [{"mimeType": "image/png", "uri": "https://example.org/a"}],
        },
        {"type": "tool_result", "content": [{"type": "video", "url": "https://example.org/a"}]},
    ],
)
def test_a_picture_that_is_only_declared_is_refused(block: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match=r"messages\[1\]\.content\[1\]"):
        read_conversation(history(block))


def test_a_result_that_is_a_picture_is_found() -> None:
    for output in (URL, B64, [{"type": "image_url", "image_url": {"url": URL}}]):
        block = {"type": "function_call_output", "call_id": "1", "output": output}
        (image,) = read_conversation(history(block)).messages[1].images
        assert image.sha256 == PICTURE.sha256
    drawn = {"type": "image_generation_call", "id": "ig_1", "result": B64}
    assert read_conversation(history(drawn)).messages[1].images[0].sha256 == PICTURE.sha256
    with pytest.raises(MessageError, match="image_generation_call"):
        read_conversation(history({"type": "image_generation_call", "id": "ig_1", "result": 1}))


@pytest.mark.parametrize(
    "text",
    ["", "data: none, so far", "Q", "iVBO", "The /9j/ prefix", "data:text/plain,words", "SUkq" * 9],
)
def test_words_are_not_an_encoded_picture(text: str) -> None:
    assert not is_encoded_picture(text)


@pytest.mark.parametrize("spaces", [" " * 600, "\n" * 100_000])
def test_an_encoded_picture_is_known_behind_and_between_spaces(spaces: str) -> None:
    for text in (spaces + B64, B64[:4] + spaces + B64[4:], spaces + URL):
        assert is_encoded_picture(text)


@given(st.text(max_size=200))
def test_hardly_any_text_is_an_encoded_picture(text: str) -> None:
    assert not is_encoded_picture(f"I think {text}")


class TestTurns:
    @pytest.mark.parametrize(("name", "role"), ROLES.items())
    def test_every_providers_role(self, name: str, role: str) -> None:
        parsed = parse_messages([*history(), {"role": name, "content": "x"}])
        assert (parsed[-1].role, parsed[-1].text) == (role, "x")

    @pytest.mark.parametrize("empty", ["", " \n", [], [""], None, [{"cachePoint": {}}]])
    def test_an_empty_system_message_is_left_out(self, empty: Any) -> None:
        for role in ("system", "developer"):
            parsed = read_conversation([{"role": role, "content": empty}, *history()])
            assert [m.role for m in parsed.messages] == ["user", "assistant", "user"]
        assert parse_messages([Message("system", (TextPart(""),)), *history()])[0].role == "user"

    @pytest.mark.parametrize("empty", ["", [], None, [{"type": "reasoning", "summary": []}]])
    def test_an_empty_turn_of_another_model_stays_a_turn(self, empty: Any) -> None:
        for role in ("assistant", "model", "tool"):
            parsed = parse_messages([*history(), {"role": role, "content": empty}])
            assert (parsed[-1].role, parsed[-1].text) == (ROLES[role], "")

    def test_a_call_without_content(self) -> None:
        calls = [{"id": "1", "type": "function", "function": {"name": "a", "arguments": "{}"}}]
        for turn in ({"content": None, "tool_calls": calls}, {"tool_calls": calls}):
            parsed = read_conversation([*history(), {"role": "assistant", **turn}])
            assert texts(parsed)[-1] == ""
            assert parsed.dropped == (Dropped("tool_calls", "messages[3].tool_calls"),)

    def test_what_an_assistant_says_beside_its_content(self) -> None:
        for beside in ({"refusal": "I cannot."}, {"audio": {"id": "a", "transcript": "I cannot."}}):
            turn = {"role": "assistant", "content": None, **beside}
            assert parse_messages([*history(), turn])[-1].text == "I cannot."
            spoken = {**turn, "content": "Yes."}
            assert parse_messages([*history(), spoken])[-1].text == "Yes."

    def test_a_question_of_nothing_but_inert_blocks_is_no_question(self) -> None:
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}
        assert texts(read_conversation([*history(), result]))[-1] == ""
        with pytest.raises(MessageError, match="no user message to answer"):
            read_conversation([result])

    def test_an_empty_question_stays_a_mistake(self) -> None:
        for empty in ("", [], None, [""]):
            with pytest.raises(MessageError, match=r"messages\[3\]"):
                read_conversation([*history(), {"role": "user", "content": empty}])


def test_the_items_of_a_response_are_read() -> None:
    """OpenAI's Responses API puts calls and reasoning between the messages."""
    parsed = read_conversation(
        [
            {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            INERT["openai reasoning"],
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "Hello.", "annotations": []},
                    {"type": "refusal", "refusal": "No more."},
                ],
            },
            INERT["openai web search"],
            INERT["openai function call"],
            {"type": "function_call_output", "call_id": "call_1", "output": "done"},
            {
                "type": "computer_call_output",
                "call_id": "c",
                "output": {"type": "image_url", "image_url": URL},
            },
        ]
    )
    assert [(m.role, m.text, len(m.images)) for m in parsed.messages] == [
        ("system", "Be brief.", 0),
        ("user", "Hi", 0),
        ("assistant", "Hello.\nNo more.", 0),
        ("tool", "done", 0),
        ("tool", "", 1),
    ]
    assert [item.kind for item in parsed.dropped] == [
        "reasoning",
        "web_search_call",
        "function_call",
    ]
    for part in ({"type": "text", "text": "Hi"}, {"type": "image", "image": RAW}, {"type": "mood"}):
        with pytest.raises(MessageError, match=r"messages\[0\] has no role"):
            read_conversation([part])


def test_the_callers_blocks_are_not_changed() -> None:
    before = deepcopy(KNOWN)
    read_conversation(history(*KNOWN))
    assert before == KNOWN


def test_nesting_without_end_is_an_error() -> None:
    block: dict[str, Any] = {"type": "text", "text": "words"}
    for _ in range(100):
        block = {"type": "non_standard", "value": block}
    with pytest.raises(MessageError, match="nested deeper"):
        read_conversation(history(block))
    deep: Any = "words"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(MessageError, match="nested deeper"):
        read_conversation(history({"type": "mystery", "inner": deep}))


def test_a_note_repeats_only_short_names() -> None:
    parsed = read_conversation(history({"type": f"x {'y' * 5000}"}, {"type": "mood\n"}))
    assert [item.kind for item in parsed.dropped] == ["unknown", "unknown"]


class TestReply:
    def test_it_names_what_was_dropped(self) -> None:
        chain = red_chain()
        thinking = INERT["anthropic thinking"]
        blocks = history(thinking, thinking, INERT["openai web search"])
        reply = chain.invoke(blocks)
        assert reply.dropped == chain.prepare(blocks).dropped
        assert reply.to_json()["dropped"] == [
            {"type": "thinking", "count": 2, "place": "messages[1].content[1]"},
            {"type": "web_search_call", "count": 1, "place": "messages[1].content[3]"},
        ]
        assert chain.stream(blocks).finish().dropped == reply.dropped
        assert reply.text == chain.invoke(history()).text

    def test_nothing_is_said_if_nothing_was_dropped(self) -> None:
        record = red_chain().invoke(history()).to_json()
        assert set(record) == {
            *("answer", "verdicts", "failed_open", "calibration", "usage"),
            *("finish_reason", "model"),
        }

    def test_a_blocked_reply_says_it_too(self) -> None:
        chain = red_chain()
        blocked = {"type": "image", "image": png(all_red())}
        asked = [{"role": "user", "content": [blocked, "And this?"]}]
        reply = chain.invoke([*history(INERT["anthropic thinking"]), *asked])
        assert reply.finish_reason == "blocked"
        assert [item.kind for item in reply.dropped] == ["thinking"]


@pytest.mark.slow
def test_the_page_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[2] / "docs" / "histories.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(code, {})
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [
        "reasoning messages[2].content[0]",
        "web_search_call messages[2].content[1]",
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=8)
        | st.sampled_from([RAW, URL]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*KINDS, "type", "content", "output", "source", "value"]),
                inner | st.sampled_from([*KINDS]),
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_block_is_read_or_a_typed_error(block: Any) -> None:
    try:
        parsed = read_conversation(history(block), IntakePolicy())
    except (MessageError, ImageRejected):
        return
    assert [message.role for message in parsed.messages] == ["user", "assistant", "user"]


@pytest.mark.parametrize("key", ["role", "content", "type", "dropped", "tool_calls", "refusal"])
@pytest.mark.parametrize("value", [PICTURE.pixels, RAW, object(), 7, {}, [None]])
def test_no_field_of_a_message_is_a_fault(key: str, value: Any) -> None:
    try:
        read_conversation([*history(), {"role": "assistant", "content": "x", key: value}])
    except (MessageError, ImageRejected):
        return
