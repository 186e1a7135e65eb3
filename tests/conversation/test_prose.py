"""Requests without a conversation: their texts may speak of pictures, and hold none."""

import base64
from typing import Any

import pytest

from guardalign_middleware.conversation import CHAT, ConversationGuard
from guardalign_middleware.errors import MessageError
from guardalign_middleware.testing import all_red, png, red_guard
from tests.conversation.positions import b64, url

LINK = "https://example.org/a.png"
GEMINI = "https://generativelanguage.googleapis.com"
RAW = png(all_red())
NEW_LINES, ESCAPES = "\n" * 600, "\\n" * 600
WRAPPED = base64.encodebytes(RAW).decode()
SCHEMA = {"type": "object", "properties": {"image": {"type": "string"}, "file_url": {}}}


@pytest.fixture(scope="module")
def guard() -> ConversationGuard:
    return ConversationGuard(red_guard())


WORDS: dict[str, str] = {
    "an address in front": f"{LINK} shows a cat.",
    "an address in the middle": f"A cat: {LINK}",
    "addresses and words": f"{LINK}\n{LINK}\n\nTwo cats.",
    "markdown": f"# Cats\n\n![A cat]({LINK})",
    "a bare prefix": "Use data:image/png;base64,... in CSS.",
    "a prefix in front": "data:image/png;base64, is how it begins.",
    "an example that breaks off": "As in data:image/png;base64,iVBORw0KGgoAAAANSUhEUg... there.",
    "a placeholder": 'f"data:image/jpeg;base64,{encoded}"',
    "a placeholder in brackets": "url(data:image/png;base64,<the picture>)",
    "a type": "Accept data:image/png, data:image/webp and data:video/mp4 only.",
    "a column": "data:x,y were read from a table.",
    "a name of a program": "file_handler opens it.",
    "a word": "file-sharing is common.",
    "a folder in the middle": "Last year's are in files/2024.",
    "a folder with a capital": "Files/folders that are gone.",
    "a page of Gemini's": "https://generativelanguage.googleapis.com/v1beta/models lists them.",
    "a schema": '{"properties": {"image_url": {"type": "string", "format": "uri"}}}',
    "base64 of words": "data:text/plain;base64,SGVsbG8sIHdvcmxkLg==",
}


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("field", ["input", "prompt", "query"])
def test_words_about_pictures_pass(guard: ConversationGuard, field: str, text: str) -> None:
    for value in (text, ["Hello.", text], [{"type": "text", "text": text}]):
        body = {"model": "m", field: value}
        assert guard.clean(body, CHAT).body is body


TOKENS: dict[str, list[Any]] = {
    "small": [1, 2, 3, 4, 5, 6, 7, 8, 9],
    "of letters": [72, 105, 33],
    "large": [15339, 1917],
    "several": [[72, 105, 33, 72, 105, 33, 72, 105, 33], [15339, 1917]],
}


@pytest.mark.parametrize("ids", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("field", ["input", "prompt"])
def test_ids_of_tokens_pass(guard: ConversationGuard, field: str, ids: list[Any]) -> None:
    body = {"model": "m", field: ids}
    assert guard.clean(body, CHAT).body is body


OPTIONS: dict[str, Any] = {
    "return_documents": True,
    "partial_images": 2,
    "num_images": 2,
    "image_size": "1024x1024",
    "search_domain_filter": ["https://example.org"],
    "input_type": "search_document",
    "modality": "text",
    "structured_outputs": {"json": SCHEMA},
    "json_schema": SCHEMA,
    "regex": "https://.*",
    "allowed_token_ids": [1, 2, 3, 4, 5, 6, 7, 8, 9],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_sound_like_pictures_pass(guard: ConversationGuard, name: str) -> None:
    body = {"model": "m", "input": "x", name: OPTIONS[name]}
    assert guard.clean(body, CHAT).body is body


PICTURES: dict[str, Any] = {
    "data URL": url(RAW),
    "data URL of a PDF": "data:application/pdf;base64,JVBERi0xLjcK",
    "data URL of a film": f"data:video/mp4;base64,{'AAAA' * 20}",
    "data URL that is not known": f"data:application/x;base64,{'QUJD' * 20}",
    "data URL in words": f"Look at {url(RAW)} there.",
    "data URL in markdown": f"![]({url(RAW)}) What is it?",
    "data URL in front of words": f"{url(RAW)} is a picture.",
    "data URL with a header full of words": f"data:image/png;a b{'c' * 999};base64,{b64(RAW)}",
    "data URL in lines": f"data:image/png;base64,\n{WRAPPED}",
    "data URL behind a space": f"data:image/png;base64,{' ' * 999}{b64(RAW)}",
    "data URL with dots": f"data:image/png;base64,{'.'.join(b64(RAW))}",
    "data URL with spaces": f"data:image/png;base64,{(' ' * 99).join(b64(RAW))}",
    "data URL that breaks off": f"As {url(RAW)[:80]}...",
    "data URL of words with a picture": f"data:text/plain;base64,{b64(RAW)[:80]}",
    "data URL of sound with a picture": f"data:audio/wav;base64,{b64(RAW)[:80]}",
    "drawing": "See data:image/svg+xml,<svg onload='x'>.",
    "drawing with escapes": "See data:image/svg+xml,%3Csvg%20a='x'%3E.",
    "base64": b64(RAW),
    "base64 that breaks off": b64(RAW)[:40],
    "base64 in lines": f" \n{WRAPPED}",
    "base64 behind many spaces": f"{' ' * 600}{b64(RAW)}",
    "base64 with many spaces": f"{b64(RAW)[:4]}{' ' * 600}{b64(RAW)[4:]}",
    "data URL with many lines": f"See {url(RAW).replace(',iVBO', f',iVBO{NEW_LINES}')}",
    "data URL behind escapes": f"See data:image/png;base64,{ESCAPES}{b64(RAW)}",
    "address": LINK,
    "address with spaces around it": f"\n{LINK} ",
    "addresses": f"{LINK} {LINK}",
    "file in a store": "gs://bucket/a cat.png",
    "file in another store": "s3://bucket/a.png",
    "local file": "file:///home/a cat.png",
    "file's id": "file-abc123",
    "file's id with spaces around it": "\nfile-abc123 ",
    "file at Gemini": "files/abc-123",
    "file at Gemini with a query": "files/abc-123?alt=json",
    "file at Gemini with a fragment": "files/abc-123#x",
    "file at Gemini with words": "files/abc-123?x y z",
    "file at Gemini with dots": "files/x/../abc-123",
    "file at Gemini behind spaces": " \nfiles/abc-123 and words",
    "address of a file at Gemini": f"{GEMINI}/v1beta/files/abc-123?x and words",
    "capital address of one": f"{GEMINI.upper()}/download/v1/files/abc-123 and words",
    "bytes": list(RAW),
    "first bytes": list(RAW[:18]),
    "block": {"type": "image_url", "image_url": {"url": url(RAW)}},
    "key": {"text": "x", "image": "abc"},
    "passage": {"text": "x", "image_b64": "abc"},
    "passage with a type": {"text": f"{LINK} x", "type": ["text", "image"]},
}


@pytest.mark.parametrize("value", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("field", ["input", "prompt", "query"])
def test_pictures_are_refused(guard: ConversationGuard, field: str, value: Any) -> None:
    for sent in (value, ["Hello.", value]):
        with pytest.raises(MessageError, match=f"{field} should be words"):
            guard.clean({"model": "m", field: sent}, CHAT)


@pytest.mark.parametrize("key", ["modality", "input_type", "inputType"])
@pytest.mark.parametrize("kind", ["image", "text_image", "video"])
def test_texts_that_are_declared_pictures_are_refused(
    guard: ConversationGuard, key: str, kind: str
) -> None:
    for stated in (kind, [kind], ["text", kind], [["text"], [kind]]):
        with pytest.raises(MessageError, match=f"its {key} '{kind}' could stand for a picture"):
            guard.clean({"model": "m", "input": f"{LINK} x", key: stated}, CHAT)


@pytest.mark.parametrize("key", ["modality", "input_type", "inputType"])
def test_texts_that_are_declared_texts_pass(guard: ConversationGuard, key: str) -> None:
    body = {"model": "m", "input": f"{LINK} x", key: ["text", ["search_document", 1]]}
    assert guard.clean(body, CHAT).body is body


def test_a_field_that_is_not_known_is_read_as_before(guard: ConversationGuard) -> None:
    stored = (" file-abc123 and words", "files/abc-123?x and words")
    for value in (WORDS["a bare prefix"], WORDS["an address in front"], TOKENS["small"], *stored):
        with pytest.raises(MessageError, match="does not know"):
            guard.clean({"model": "m", "mystery": value}, CHAT)
