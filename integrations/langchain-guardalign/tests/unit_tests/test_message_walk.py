from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from PIL import Image

from guardalign_middleware.errors import GuardError, ImageRejected, MessageError
from guardalign_middleware.intake.found_images import Replacement
from guardalign_middleware.testing import base64_png, data_url, picture, png
from guardalign_middleware.testing.photos import file_of
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign.message_walk import find_images, put_images
from langchain_guardalign.testing import holds_raw
from langchain_guardalign.verdict_metadata import summary

Forms = Callable[[CanonicalImage], dict[str, Any]]
Pictures = Callable[[object], list[CanonicalImage]]

RAW = picture(red=True)
CLEAN = picture(colour=(0, 255, 0))
PUT = Replacement(file=png(CLEAN), record={"decision": "mask", "action": "mask"})
NOTE = Replacement(note="gone", record={"decision": "block"})
NAMES = (
    "v1 base64",
    "v1 data url",
    "v0 base64",
    "v0 url",
    "openai",
    "openai string",
    "openai responses",
    "openai file",
    "anthropic",
    "anthropic data url",
    "bedrock",
    "google",
    "google bytes",
    "v1 file",
    "mcp",
    "mcp without type",
    "mcp resource",
    "transformers",
    "transformers data url",
    "openai drawn",
    "openai computer",
    "non-standard",
    "tool result",
    "text with a data url",
)
OTHERS: tuple[Any, ...] = (
    "plain words",
    {"type": "text", "text": "data:image/png without bytes, /9j/ and iVBORw0KGgo in words"},
    {"type": "text", "text": '{"answer": [1, 2.5, null], "path": "a.png"}'},
    {"type": "reasoning", "reasoning": "hm", "extras": {"signature": "c2ln" * 40}},
    {"type": "thinking", "thinking": "hm", "signature": "Rm9v" * 40},
    {"type": "tool_use", "id": "1", "name": "image_search", "input": {"image": "a cat"}},
    {"type": "audio", "base64": "UklGRiQAAABXQVZF" + "A" * 80, "mime_type": "audio/wav"},
    {"type": "text-plain", "text": "words", "mime_type": "text/plain"},
    {"type": "text", "text": "words", "image_url": None, "file": None, "images": []},
    {"type": "json", "value": {"image": {"name": "nginx"}, "kind": ["image"]}},
    {"type": "search_result", "source": "https://example.org/a.png", "title": "a"},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}},
    {"type": "resource_link", "uri": "https://example.org/a", "mimeType": "image/png", "name": "a"},
    {},
)


def test_the_names_are_those_of_the_fixture(forms: Forms) -> None:
    assert tuple(forms(RAW)) == NAMES


def test_every_form_holds_its_own_image_only(forms: Forms) -> None:
    assert not any(holds(block, CLEAN) for block in forms(RAW).values())
    assert all(holds(block, RAW) for block in forms(RAW).values())


def holds(value: object, image: CanonicalImage) -> bool:
    """Whether a value contains the encoded image."""
    return holds_raw(value, png(image))


def messages_with(block: Any) -> list[BaseMessage]:
    """A message for each place that can hold the block."""
    content = [{"type": "text", "text": "look"}, block]
    return [
        HumanMessage(content, id="1"),
        SystemMessage(content, id="2"),
        AIMessage(content, id="3"),
        ToolMessage(content, tool_call_id="1", id="4"),
        ToolMessage("seen", tool_call_id="1", id="5", artifact=block),
        ToolMessage("seen", tool_call_id="1", id="6", artifact={"deep": ({"er": [block]},)}),
        ToolMessage(
            "seen", tool_call_id="1", id="7", artifact=Document("x", metadata={"i": block})
        ),
        HumanMessage("look", id="8", additional_kwargs={"attachments": [block]}),
        HumanMessage("look", id="9", something_extra={"blocks": [block]}),
        AIMessage("", id="10", tool_calls=[{"name": "see", "args": {"it": block}, "id": "1"}]),
        ToolMessage([{"type": "tool_result", "content": content}], tool_call_id="1", id="11"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_form_in_every_place_is_found_and_put_back(
    forms: Forms, pictures: Pictures, name: str
) -> None:
    for message in messages_with(forms(RAW)[name]):
        before = repr(message)
        assert [image.sha256 for image in pictures(message)] == [RAW.sha256]

        new = put_images(message, [PUT])
        assert [image.sha256 for image in pictures(new)] == [CLEAN.sha256]
        assert not holds(new, RAW)
        assert (type(new), new.id) == (type(message), message.id)
        assert put_images(new, [PUT]) is new
        assert new.response_metadata["guardalign"] == summary([PUT.record])
        # The dialect stays: putting the old image back gives the old message.
        again = put_images(new, [Replacement(file=png(RAW))])
        again.response_metadata = message.response_metadata
        del again.additional_kwargs["guardalign"]
        assert again == message

        noted = put_images(message, [NOTE])
        assert pictures(noted) == []
        assert not holds(noted, RAW)
        assert "gone" in repr(noted)
        assert repr(message) == before


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in {"bedrock", "google bytes", "transformers"}]
)
def test_json_text_is_cleaned_as_json(forms: Forms, pictures: Pictures, name: str) -> None:
    block = forms(RAW)[name]
    text = json.dumps({"answer": [1, "ü", None], "content": [block]})
    message = ToolMessage(text, tool_call_id="1")
    assert [image.sha256 for image in pictures(message)] == [RAW.sha256]
    new = put_images(message, [PUT])
    assert json.loads(str(new.content))["answer"] == [1, "ü", None]
    assert [image.sha256 for image in pictures(new)] == [CLEAN.sha256]
    assert not holds(new, RAW)
    noted = put_images(message, [NOTE])
    assert json.loads(str(noted.content))
    assert pictures(noted) == []
    escaped = ToolMessage(text.replace("/", "\\/"), tool_call_id="1")
    assert not holds(put_images(escaped, [PUT]), RAW)


def test_a_type_stated_beside_an_image_changes_with_it() -> None:
    jpeg = _encoded(RAW, "JPEG")
    message = HumanMessage([{"type": "image", "base64": jpeg, "mime_type": "image/jpeg"}])
    assert put_images(message, [PUT]).content[0]["mime_type"] == "image/png"  # type: ignore[index]
    text = ToolMessage(json.dumps({"data": jpeg, "mimeType": "image/jpeg"}), tool_call_id="1")
    assert json.loads(str(put_images(text, [PUT]).content))["mimeType"] == "image/png"
    bedrock = {"image": {"format": "jpeg", "source": {"bytes": png(RAW)}}}
    assert put_images([bedrock], [PUT])[0]["image"]["format"] == "png"  # type: ignore[index]


def _encoded(image: CanonicalImage, kind: str) -> str:
    return base64.b64encode(file_of(image.to_pil(), kind)).decode()


def test_a_notice_is_a_text_block_and_keeps_the_id(forms: Forms) -> None:
    message = HumanMessage([forms(RAW)["v1 base64"], forms(RAW)["non-standard"]])
    assert put_images(message, [NOTE, NOTE]).content == [
        {"type": "text", "text": "gone", "id": "b1"},
        {"type": "text", "text": "gone"},
    ]


@pytest.mark.parametrize("block", OTHERS, ids=repr)
def test_other_blocks_are_the_same_object(block: Any) -> None:
    message = HumanMessage([block] if block != {} else [{"a": 1}])
    assert find_images(message) == []
    assert put_images(message, []) is message


@given(
    st.lists(st.one_of(st.sampled_from(NAMES), st.sampled_from(range(len(OTHERS)))), max_size=6),
    st.data(),
)
def test_images_are_replaced_in_order_and_nothing_else_changes(
    forms: Forms, names: list[str | int], data: st.DataObject
) -> None:
    blocks = [forms(RAW)[name] if isinstance(name, str) else OTHERS[name] for name in names]
    message = HumanMessage(list(blocks), id="m", name="someone")
    count = sum(isinstance(name, str) for name in names)
    assert len(find_images(message)) == count
    chosen = data.draw(st.lists(st.sampled_from([PUT, NOTE]), min_size=count, max_size=count))
    new = put_images(message, chosen)
    assert (new.id, new.name, len(new.content)) == ("m", "someone", len(blocks))
    rest = iter(chosen)
    for name, old, block in zip(names, message.content, new.content, strict=True):
        if isinstance(name, int):
            assert block is old
        elif next(rest) is PUT:
            assert holds(block, CLEAN)
            assert not holds(block, RAW)
        else:
            assert "gone" in repr(block)
            assert not holds(block, RAW)
    if count:
        assert [r["decision"] for r in new.response_metadata["guardalign"]["verdicts"]] == [
            choice.record["decision"] for choice in chosen
        ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_values_without_images_come_back_as_they_are(value: Any) -> None:
    message = ToolMessage("seen", tool_call_id="1", artifact=value)
    assert put_images(message, []) is message


REFUSED: dict[str, Any] = {
    "file id": {"type": "image", "file_id": "file-1"},
    "v0 id": {"type": "image", "source_type": "id", "id": "file-1"},
    "bedrock location": {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://a"}}}},
    "no url": {"type": "image_url", "image_url": {"detail": "low"}},
    "screenshot": {"type": "computer_screenshot", "file_id": "file-1"},
}


@pytest.mark.parametrize("block", REFUSED.values(), ids=REFUSED.keys())
def test_an_image_without_bytes_is_refused(block: dict[str, Any]) -> None:
    error = refusal(HumanMessage([block]))
    assert isinstance(error, ImageRejected)
    assert re.match(r"messages\.content\[0\]", error.message)
    # No model sees an artifact.
    aside = ToolMessage("", tool_call_id="1", artifact=[block])
    assert put_images(aside, []) is aside


def refusal(value: object) -> ImageRejected | MessageError:
    """The one reason why a value is refused; its note removes all of it."""
    (found,) = [image for image in find_images(value) if image.refused is not None]
    noted = put_images(value, [NOTE] * len(find_images(value)))
    assert not find_images(noted)
    assert "gone" in repr(noted)
    assert found.refused is not None
    return found.refused


UNREADABLE: dict[str, Any] = {
    "picture beside a text": {"type": "text", "text": "x", "image_url": "https://example.org/a"},
    "numbers beside a thought": {"type": "thinking", "thinking": "", "image_embeds": "UEsDBAAA"},
    "film without a type": {"video_url": {"url": "https://example.org/a.mp4"}},
    "file without a type": {"file": {"file_data": "data:application/pdf;base64,JVBERi0="}},
    "numbers": {"type": "prompt_embeds", "data": "UEsDBAAA"},
    "hologram": {"type": "hologram", "image": "AAAA"},
    "future image": {"type": "image_v9", "payload": "AAAA"},
    "nested": {"type": "tool_result", "content": [{"type": "hologram", "image": "AAAA"}]},
    "non-standard": {"type": "non_standard", "value": {"type": "image_v9", "payload": "AAAA"}},
    "pdf": {"type": "file", "base64": "JVBERi0=", "mime_type": "application/pdf"},
    "openai pdf": {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}},
    "anthropic pdf": {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
    },
    "video": {"type": "video", "base64": "AAAA", "mime_type": "video/mp4"},
    "video url": {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}},
    "google video": {"type": "media", "mime_type": "video/mp4", "data": "AAAA"},
    "bedrock document": {"document": {"format": "pdf", "source": {"bytes": b"%PDF-"}}},
    "file id": {"type": "file", "file_id": "file-1"},
    "openai file id": {"type": "file", "file": {"file_id": "file-1"}},
}


@pytest.mark.parametrize("block", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_block_that_could_hold_an_image_is_refused(block: dict[str, Any]) -> None:
    error = refusal(HumanMessage(["look", block]))
    assert isinstance(error, MessageError)
    assert error.message.startswith("messages.content[1]")
    assert error.remedy


@pytest.mark.parametrize(
    "more",
    [
        {"url": "https://example.org/a.png"},
        {"file_id": "file-1"},
        {"image": "AAAA"},
        {"extras": {"preview": data_url(CLEAN)}},
        {"text": f"or this one: {base64_png(CLEAN)}"},
    ],
)
def test_two_images_in_one_block_are_refused(more: dict[str, Any]) -> None:
    block = {"type": "image", "base64": base64_png(RAW), "mime_type": "image/png", **more}
    assert "two" in refusal(HumanMessage([block])).message


def test_urls_in_json_text_are_only_words() -> None:
    text = json.dumps(
        [
            {"type": "image", "url": "https://example.org/a.png"},
            {"type": "image", "file_id": "file-1"},
            {"type": "image", "source": {"type": "url", "url": "https://example.org"}},
            {"x": "iVBORw0KGgo"},
        ]
    )
    message = ToolMessage(text, tool_call_id="1")
    assert put_images(message, []) is message


def test_an_image_in_a_key_is_refused() -> None:
    message = ToolMessage("", tool_call_id="1", artifact={data_url(RAW): 1})
    assert "key" in refusal(message).message
    assert not holds(put_images(message, [NOTE]), RAW)


def test_what_is_nested_too_deep_is_refused() -> None:
    value: Any = png(RAW)
    for _ in range(100):
        value = [value]
    message = ToolMessage("", tool_call_id="1", artifact=value)
    assert "64" in refusal(message).message
    assert not holds(put_images(message, [NOTE]), RAW)


def test_a_note_for_a_refused_block_is_a_text_block_and_keeps_where_the_prompt_is_cached() -> None:
    cached = {"cache_control": {"type": "ephemeral"}}
    block = {"type": "document", "source": {"type": "file", "file_id": "f"}, "id": "b", **cached}
    assert put_images([HumanMessage([block])], [NOTE])[0].content == [
        {"type": "text", "text": "gone", "id": "b", **cached}
    ]


def test_a_note_takes_no_picture_along_in_what_it_keeps(forms: Forms) -> None:
    for hidden in (data_url(RAW), RAW.to_pil(), [forms(RAW)["openai"]]):
        kept = {"cache_control": {"type": hidden}, "id": hidden}
        block = {"type": "document", "source": {"type": "file", "file_id": "f"}, **kept}
        found = find_images(HumanMessage([block]))
        noted = put_images(HumanMessage([block]), [NOTE] * len(found))
        assert noted.content == [{"type": "text", "text": "gone"}]


def test_images_inside_a_refused_block_are_cleaned_if_it_stays() -> None:
    page = {"type": "image", "file_id": "f", "preview": [{"type": "image", "url": data_url(RAW)}]}
    found = find_images(HumanMessage([page]))
    assert [image.refused is None for image in found] == [True, False]
    new = put_images(HumanMessage([page]), [PUT, Replacement()])
    assert holds(new, CLEAN)
    assert not holds(new, RAW)


def test_each_image_says_in_which_turn_it_stands(forms: Forms) -> None:
    block = forms(RAW)["openai"]
    inner = ToolMessage("", tool_call_id="1", artifact=[HumanMessage([block])])
    value = [HumanMessage("a"), HumanMessage([block]), inner, HumanMessage([{"type": "image"}])]
    assert [image.turn for image in find_images(value)] == [1, 2, 3]
    assert [image.turn for image in find_images({"messages": value, "x": block})] == [1, 2, 3, None]
    assert [image.turn for image in find_images(value[1])] == [0]


@dataclasses.dataclass(frozen=True)
class Shot:
    page: str
    data: bytes


def test_decoded_pictures_and_objects_are_found_too(pictures: Pictures) -> None:
    artifact = {
        "pil": RAW.to_pil(),
        "array": RAW.pixels.copy(),
        "bytes": bytearray(png(RAW)),
        "ascii": base64_png(RAW).encode(),
        "object": Shot("a", png(RAW)),
        "message": HumanMessage([{"type": "image", "url": data_url(RAW)}]),
        "other": np.zeros((4, 4)),
        "other bytes": b"\x00" * 100,
    }
    message = ToolMessage("seen", tool_call_id="1", artifact=artifact)
    assert [image.sha256 for image in pictures(message)] == [RAW.sha256] * 6
    new = put_images(message, [PUT] * 6).artifact
    assert isinstance(new["pil"], Image.Image)
    assert (np.asarray(new["pil"]) == CLEAN.pixels).all()
    assert (new["array"] == CLEAN.pixels).all()
    assert new["bytes"] == bytearray(png(CLEAN))
    assert new["ascii"] == base64_png(CLEAN).encode()
    assert new["object"] == Shot("a", png(CLEAN))
    assert new["message"].response_metadata["guardalign"]["masked"] == 1
    assert new["other"] is artifact["other"]


def test_the_number_of_replacements_must_match(forms: Forms) -> None:
    message = HumanMessage([forms(RAW)["openai"]])
    with pytest.raises(GuardError, match="more images"):
        put_images(message, [])
    with pytest.raises(GuardError, match="fewer images"):
        put_images(message, [PUT, PUT])


def test_a_message_cleaned_earlier_keeps_its_verdict(forms: Forms) -> None:
    first = put_images(HumanMessage([forms(RAW)["openai"]]), [PUT])
    allowed = Replacement(file=png(CLEAN), record={"decision": "allow"})
    assert put_images(first, [allowed]) is first
