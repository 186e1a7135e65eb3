"""What a block declares decides, in every dialect and at every depth, whatever is found inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.found_images import FoundImage, Replacement
from guardalign_middleware.testing import base64_png, data_url, picture, png
from guardalign_middleware.testing.harmless import snippets
from langchain_guardalign.message_walk import find_images, put_images

RAW = picture(red=True)
B64, URL, FILE = base64_png(RAW), data_url(RAW), png(RAW)
NOTE = Replacement(note="gone")
PDF = "JVBERi0xLjcKJSBhIHBhZ2U="
PDF_URL = f"data:application/pdf;base64,{PDF}"

MEDIA: dict[str, tuple[Any, str]] = {
    "v1 pdf": ({"type": "file", "base64": PDF, "mime_type": "application/pdf"}, "pdf"),
    "v0 pdf": (
        {"type": "file", "source_type": "base64", "data": PDF, "mime_type": "application/pdf"},
        "pdf",
    ),
    "openai pdf": ({"type": "file", "file": {"file_data": PDF_URL, "filename": "a.pdf"}}, "pdf"),
    "responses pdf": ({"type": "input_file", "file_data": PDF_URL, "filename": "a.pdf"}, "pdf"),
    "responses url": ({"type": "input_file", "file_url": "https://example.org/a"}, "file"),
    "anthropic pdf": (
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
        "pdf",
    ),
    "anthropic url": (
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a"}},
        "file",
    ),
    "anthropic id": ({"type": "document", "source": {"type": "file", "file_id": "f"}}, "file"),
    "container": ({"type": "container_upload", "file_id": "file_1"}, "file"),
    "bedrock pdf": (
        {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"%PDF-1.7"}}},
        "pdf",
    ),
    "bedrock film": (
        {"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://a"}}}},
        "video",
    ),
    "google pdf": ({"type": "media", "mime_type": "application/pdf", "data": PDF}, "pdf"),
    "google film": ({"type": "media", "mime_type": "video/mp4", "file_uri": "gs://a/b"}, "video"),
    "google inline": ({"inlineData": {"mimeType": "application/pdf", "data": PDF}}, "pdf"),
    "google file": ({"file_data": {"mime_type": "video/mp4", "file_uri": "gs://a"}}, "video"),
    "mcp pdf": (
        {
            "type": "resource",
            "resource": {"uri": "file:///a", "mimeType": "application/pdf", "blob": PDF},
        },
        "pdf",
    ),
    "film": ({"type": "video", "url": "https://example.org/a.mp4"}, "video"),
    "film of frames": ({"type": "video", "video": ["a.png"]}, "video"),
    "office": ({"type": "file", "base64": "UEsDBA==", "mime_type": "application/msword"}, "file"),
    "id": ({"type": "file", "file_id": "file-1"}, "file"),
    "nothing said": ({"type": "file", "base64": "AAAA"}, "file"),
    "text behind an address": (
        {"type": "file", "url": "https://example.org/a.txt", "mime_type": "text/plain"},
        "file",
    ),
    "text-plain url": ({"type": "text-plain", "url": "https://example.org/a"}, "file"),
    "text-plain behind an address": (
        {"type": "text-plain", "url": "https://example.org/a.txt", "mime_type": "text/plain"},
        "file",
    ),
    "text-plain id": ({"type": "text-plain", "text": "words", "file_id": "f"}, "file"),
    "text-plain nothing said": ({"type": "text-plain", "base64": "AAAA"}, "file"),
    "text-plain pdf": (
        {"type": "text-plain", "base64": PDF, "mime_type": "application/pdf"},
        "pdf",
    ),
    "v0 text-plain film": (
        {"type": "text-plain", "source_type": "url", "url": "gs://a", "mime_type": "video/mp4"},
        "video",
    ),
    "sound by id": ({"type": "audio", "file_id": "f"}, "file"),
    "sound behind an address": ({"type": "audio", "url": "https://example.org/a"}, "file"),
    "two types": ({"type": "file", "mime_type": "text/plain", "url": PDF_URL}, "file"),
    "sound called a film": ({"type": "audio", "base64": "AAAA", "mime_type": "video/mp4"}, "file"),
}
PLANTS: dict[str, Any] = {
    "base64": {"thumbnail": B64},
    "bytes": {"extras": {"thumbnail": FILE}},
    "block": {"poster": {"type": "image_url", "image_url": {"url": URL}}},
    "title": {"title": f"A page ![]({URL})"},
    "context": {"context": URL},
    "array": {"preview": RAW.pixels},
}
HARMLESS: dict[str, Any] = {
    "audio": {"type": "audio", "base64": "UklGRiQAAABXQVZF", "mime_type": "audio/wav"},
    "audio by id": {"type": "audio", "file_id": "f", "mime_type": "audio/wav"},
    "audio by address": {"type": "audio", "url": "https://example.org/a.mp3"},
    "audio of Bedrock": {
        "audio": {"format": "mp3", "source": {"s3Location": {"uri": "s3://a"}}},
    },
    "input audio": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    "text file": {"type": "file", "base64": "aGVsbG8=", "mime_type": "text/plain"},
    "plain text": {
        "type": "text-plain",
        "text": "words",
        "mime_type": "text/plain",
        "title": "A page",
        "context": "https://example.org/a.png",
    },
    "plain text file": {"type": "text-plain", "base64": "aGVsbG8=", "mime_type": "text/plain"},
    "v0 text": {"type": "file", "source_type": "text", "text": "words", "mime_type": "text/plain"},
    "bedrock text": {"document": {"format": "txt", "name": "a", "source": {"bytes": b"words"}}},
    "bedrock words": {"document": {"format": "pdf", "name": "a", "source": {"text": "words"}}},
    "anthropic text": {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "words"},
        "title": "A page",
    },
    "anthropic blocks": {
        "type": "document",
        "source": {"type": "content", "content": [{"type": "text", "text": "words"}]},
    },
    "mcp text": {"type": "resource", "resource": {"uri": "file:///a", "text": "words"}},
    "mcp link": {
        "type": "resource_link",
        "uri": "https://example.org/a.png",
        "mimeType": "image/png",
    },
    "drawn before": {"type": "image_generation_call", "id": "ig_1"},
    "found": {
        "type": "search_result",
        "source": "https://example.org/a.png",
        "title": "a",
        "content": [],
    },
    "cited": {
        "type": "text",
        "text": "a",
        "annotations": [{"type": "file_citation", "file_id": "f"}],
    },
    "call": {
        "type": "tool_use",
        "id": "1",
        "name": "post",
        "input": {"image_url": "https://a.org"},
    },
    "server call": {"type": "web_search_call", "id": "1", "action": {"sources": [{"image": "a"}]}},
    "result of a search": {
        "type": "server_tool_result",
        "tool_call_id": "1",
        "output": {"results": [{"title": "a", "image_url": "https://example.org/a.png"}]},
    },
}
ADDRESSES: tuple[Any, ...] = (
    {"type": "image", "source": "report.pdf", "page": 3},
    {"type": "image", "url": "https://example.org/a.png"},
    {"type": "image", "path": "figures/a.png"},
    {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    {"type": "file", "file": {"file_id": "file-1"}},
    {"image": {"source": {"s3Location": {"uri": "s3://a"}}}},
    {"image_url": "https://example.org/a.png", "image": "a.png"},
)


def shown(block: Any) -> Iterator[BaseMessage]:
    """Messages that show a block to a model, at every depth."""
    yield HumanMessage([block])
    yield SystemMessage([block])
    yield AIMessage([block])
    yield ToolMessage(["look", block], tool_call_id="1")
    yield ToolMessage([{"type": "tool_result", "content": [block]}], tool_call_id="1")
    yield ToolMessage([{"toolResult": {"toolUseId": "1", "content": [block]}}], tool_call_id="1")
    yield ToolMessage([{"type": "function_call_output", "output": [block]}], tool_call_id="1")
    yield HumanMessage([{"type": "non_standard", "value": block}])
    yield HumanMessage([{"type": "yet_to_come", "deep": [{"er": block}]}])
    yield HumanMessage([{"type": "document", "source": {"type": "content", "content": [block]}}])
    yield AIMessage("", additional_kwargs={"tool_outputs": [block]})
    yield HumanMessage("", additional_kwargs={"content": [block]})


def aside(value: Any) -> Iterator[Any]:
    """Where no model sees a value."""
    yield ToolMessage("", tool_call_id="1", artifact={"results": [value]})
    yield HumanMessage("", response_metadata={"seen": value})
    yield HumanMessage("", additional_kwargs={"attachments": [value]})
    yield AIMessage("", tool_calls=[{"name": "post", "args": {"blocks": [value]}, "id": "1"}])
    yield AIMessage([{"type": "tool_use", "id": "1", "name": "post", "input": {"blocks": [value]}}])
    yield [Document("a", metadata=value), Document("b", metadata={"source": value})]


def refusals(value: Any) -> list[FoundImage]:
    return [found for found in find_images(value) if found.refused is not None]


def noted(value: Any) -> Any:
    new = put_images(value, [NOTE] * len(find_images(value)))
    assert not find_images(new)
    return new


@pytest.mark.parametrize("name", MEDIA)
def test_a_file_is_refused_at_every_depth(name: str) -> None:
    block, media = MEDIA[name]
    for message in shown(block):
        (found,) = refusals(message)
        assert found.media == media
        assert isinstance(found.refused, ImageRejected | MessageError)
        assert found.refused.remedy
        assert found.turn == 0
        assert PDF not in repr(noted(message))
        assert put_images(message, [Replacement()]) is message
    for value in aside(block):
        assert find_images(value) == []


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("name", MEDIA)
def test_a_picture_inside_is_cleaned_and_the_file_is_refused_all_the_same(
    name: str, plant: str
) -> None:
    block, media = MEDIA[name]
    both = {**block, **PLANTS[plant]}
    for message in (HumanMessage([both]), ToolMessage([{"content": [both]}], tool_call_id="1")):
        found = find_images(message)
        assert [image.refused is None for image in found] == [True, False]
        assert found[1].media == media
        clean = png(picture(colour=(0, 255, 0)))
        kept = put_images(message, [Replacement(file=clean), Replacement()])
        assert B64 not in repr(kept)
        assert repr(FILE)[2:-1] not in repr(kept)
        assert B64 not in repr(noted(message))


@pytest.mark.parametrize("kind", ["video", "file", "audio"])
def test_a_picture_that_is_declared_something_else_is_never_let_through(kind: str) -> None:
    for payload in ({"base64": B64}, {"data": B64}, {"url": URL.replace("image/png", "x/y")}):
        for message in shown({"type": kind, **payload, "mime_type": f"{kind}/x"}):
            (found,) = refusals(message)
            assert found.media is None


def test_sound_that_is_a_film_or_a_pdf_is_never_let_through() -> None:
    film = "AAAAHGZ0eXBpc29tAAACAGlzb21pc28yYXZjMW1wNDE="
    for payload in (PDF, film):
        for block in (
            {"type": "audio", "base64": payload},
            {"type": "audio", "base64": payload, "mime_type": "audio/mp4"},
            {"type": "audio", "source_type": "base64", "data": payload},
            {"type": "input_audio", "input_audio": {"data": payload, "format": "mp3"}},
            {"type": "input_audio", "input_audio": payload},
            {"type": "media", "mime_type": "audio/mp3", "data": payload},
        ):
            (found,) = refusals(HumanMessage([block]))
            assert found.media is None


def test_a_text_that_is_no_text_is_refused() -> None:
    for kind in ("file", "text-plain"):
        for payload in (B64, PDF):
            block = {"type": kind, "base64": payload, "mime_type": "text/plain"}
            (found,) = refusals(HumanMessage([block]))
            assert found.media is None


@pytest.mark.parametrize("name", HARMLESS)
def test_what_holds_no_picture_passes_at_every_depth(name: str) -> None:
    for message in shown(HARMLESS[name]):
        assert put_images(message, []) is message
    for value in aside(HARMLESS[name]):
        assert put_images(value, []) is value


@pytest.mark.parametrize("name", snippets())
def test_words_pass_in_every_block(name: str) -> None:
    text = snippets()[name]
    for block in (
        {"type": "text", "text": text},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}},
        {"type": "tool_use", "id": "1", "name": "write", "input": {"text": text}},
        {"type": "function_call_output", "call_id": "1", "output": text},
    ):
        message = HumanMessage([block])
        found = find_images(message)
        assert all(image.words for image in found)
        assert put_images(message, [Replacement()] * len(found)) is message


@pytest.mark.parametrize("block", ADDRESSES, ids=repr)
def test_addresses_are_words_where_no_model_looks(block: Any) -> None:
    for value in aside(block):
        assert put_images(value, []) is value


def test_a_block_of_another_dialect_under_a_key_is_cleaned() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": B64}
    document = Document("a", metadata={"image": {"type": "image", "source": source}})
    (found,) = find_images(document)
    assert found.refused is None
    assert B64 not in repr(put_images(document, [NOTE]))


def test_a_screenshot_as_a_text_is_read_as_the_converter_sends_it() -> None:
    kwargs = {"type": "computer_call_output"}
    (found,) = find_images(ToolMessage(URL, tool_call_id="1", additional_kwargs=kwargs))
    assert found.declared
    message = ToolMessage("https://example.org/a.png", tool_call_id="1", additional_kwargs=kwargs)
    (found,) = find_images(message)
    assert found.part["image_url"]["url"] == message.content
    assert put_images(message, [NOTE]).content == [{"type": "text", "text": "gone"}]


def test_several_blocks_can_take_the_place_of_one() -> None:
    pages = [{"type": "text", "text": "page 1"}, {"type": "text", "text": "page 2"}]
    message = HumanMessage(["a", MEDIA["v1 pdf"][0], "b"])
    (found,) = find_images(message)
    assert found.part == {"type": "file", "payload": PDF}
    assert put_images(message, [Replacement(blocks=pages)]).content == ["a", *pages, "b"]
