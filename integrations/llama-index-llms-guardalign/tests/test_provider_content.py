"""Blocks of providers beside a message: what a model could see in them, by the core's rules."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from llama_index.core.llms import ChatMessage

from guardalign_middleware.errors import GuardAlignError, MessageError
from guardalign_middleware.testing import base64_png, png
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from llama_index_support.conversations import GUARD, UNSAFE
from llama_index_support.doubles import PlainLLM

LINK = "https://example.org/a"
RAW64 = base64_png(UNSAFE)
PDF = base64.b64encode(b"%PDF-1.4\n" + bytes(100)).decode()
LATE_PDF = base64.b64encode(b"a,b\n%PDF-1.4\n1 0 obj\n<<>>\n").decode()
FILM = base64.b64encode(b"\0\0\0\x18ftypisom" + bytes(12) + b"hdlr" + bytes(8) + b"vide").decode()
WORDS = [{"type": "text", "text": "a"}]


def send(content: Any, key: str = "content", **fields: Any) -> Any:
    """What the inner LLM is shown under a key beside a message, and the message itself."""
    inner = PlainLLM()
    message = ChatMessage(role="user", content="Look.")
    message.additional_kwargs[key] = content
    GuardAlignGuardedLLM(llm=inner, guard=GUARD, **fields).chat([message])
    (shown,) = inner.calls[0]
    return shown, message


def source(**fields: Any) -> dict[str, Any]:
    return {"type": "document", "source": fields}


UNREAD: dict[str, dict[str, Any]] = {
    "a picture of an unknown type": {"type": "input_picture", "url": LINK},
    "a picture by id": {"type": "image_file", "image_file": {"file_id": "file-abc123"}},
    "a picture in numbers": {"type": "image_embeds", "image_embeds": "gAJjdG9yY2g="},
    "numbers of an unknown kind": {"type": "pooled_embeds", "data": "gAJjdG9yY2g="},
    "a film by key": {"video_url": LINK},
    "a picture by key": {"image": LINK},
    "a picture beside a text": {"type": "text", "text": "x", "image_url": LINK, "uuid": "u"},
    "a film beside a text": {"type": "text", "text": "x", "video_url": {"url": LINK}},
    "a file beside a text": {"type": "text", "text": "x", "file_id": "file-abc123"},
    "a picture behind an address": {"type": "shot", "mime_type": "image/png", "url": LINK},
    "a file behind an address": {"type": "page", "mime_type": "application/pdf", "url": LINK},
    "an address": {"type": "page_url", "page_url": LINK},
    "a document by address, with a text": source(type="url", url=LINK, text="a"),
    "a document's file, with a text": source(type="base64", data=PDF, content="a"),
    "a PDF that is declared text": {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": f"data:text/plain;base64,{PDF}"},
    },
    "a PDF that is declared CSV": {"type": "page", "page": f"data:text/csv;base64,{PDF}"},
    "a PDF behind a line, declared CSV": {"type": "page", "a": f"data:text/csv;base64,{LATE_PDF}"},
    "a PDF that is declared sound": {
        "type": "input_audio",
        "input_audio": {"data": f"data:audio/wav;base64,{PDF}", "format": "wav"},
    },
    "a film that is declared sound": {
        "type": "audio",
        "mime_type": "audio/mp4",
        "base64": f"data:audio/mp4;base64,{FILM}",
    },
}


@pytest.mark.parametrize("name", UNREAD)
@pytest.mark.parametrize("key", ["content", "parts", "blocks"])
def test_what_could_lead_to_a_picture_is_refused(name: str, key: str) -> None:
    block = UNREAD[name]
    result = {"type": "tool_result", "content": [block]}
    for content in ([*WORDS, block], block, [result], ({"content": block},)):
        with pytest.raises(GuardAlignError):
            send(content, key)


def test_a_notice_takes_the_place_of_an_older_block_alone() -> None:
    inner = PlainLLM()
    older = ChatMessage(role="assistant", content="I see.")
    older.additional_kwargs["content"] = [*WORDS, UNREAD["a picture by id"]]
    GuardAlignGuardedLLM(llm=inner, guard=GUARD).chat([older, ChatMessage("Go on.")])
    words, notice = inner.calls[0][0].additional_kwargs["content"]
    assert words == WORDS[0]
    assert notice == {"type": "text", "text": "[image not shown: it could not be checked]"}


def test_one_object_in_two_places_is_read_in_both() -> None:
    block = {"type": "image_file", "image_file": {"file_id": "file-abc123"}}
    with pytest.raises(MessageError):
        send({"type": "tool_result", "meta": [block], "content": [block]})


def test_an_array_in_content_could_be_a_picture() -> None:
    matrix = np.random.default_rng(0).normal(size=(20, 20))
    with pytest.raises(MessageError, match="array"):
        send([{"type": "shot", "data": matrix}])
    shown, message = send({"scores": matrix}, "metrics")
    assert shown is message


def test_files_of_unknown_types_pass_where_files_may() -> None:
    block = UNREAD["a file behind an address"]
    shown, message = send([block], allow_unscanned=True)
    assert shown is message
    for name in ("a picture behind an address", "a film that is declared sound"):
        with pytest.raises(GuardAlignError):
            send([UNREAD[name]], allow_unscanned=True)


HARMLESS: dict[str, Any] = {
    "a text": {"type": "text", "text": "see https://example.org/a.png", "uuid": "u"},
    "a text to cache": {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
    "a text without a picture": {"type": "text", "text": "a", "image_url": None, "file_id": None},
    "citations": {
        "type": "output_text",
        "text": "a",
        "annotations": [{"type": "file_citation", "file_id": "file-abc123", "filename": "a.pdf"}],
    },
    "reasoning": {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
    "thinking": {"type": "thinking", "thinking": "hm", "signature": "EqQBCg=="},
    "a call": {"type": "tool_use", "id": "1", "name": "look", "input": {"picture": LINK}},
    "a function": {"function_call": {"name": "look", "args": {"image": LINK, "file": "a.png"}}},
    "an answer": {"function_response": {"name": "look", "response": {"result": "a"}}},
    "a result": {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text"}]},
    "a search": {"type": "web_search_tool_result", "content": [{"url": LINK, "title": "a"}]},
    "a document of words": source(type="text", media_type="text/plain", data="a,b"),
    "a document of blocks": source(type="content", content=WORDS),
    "a document of Bedrock": {"document": {"format": "txt", "source": {"text": "a"}}},
    "a text file": {
        "type": "file",
        "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,YSxi"},
    },
    "sound": {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    "sound with its type": {"type": "audio", "mime_type": "audio/mpeg", "base64": "SUQzBAAA"},
    "Google's words": {"text": "a", "thought_signature": "EqQBCg=="},
    "Bedrock's words": {"text": "a"},
    "a cache point": {"cachePoint": {"type": "default"}},
    "an unknown block": {"type": "mood", "level": 3, "file": "a.txt"},
    "words about pictures": {"type": "note", "title": "my picture", "profile": "images"},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_providers_use_passes(name: str) -> None:
    block = HARMLESS[name]
    for key in ("content", "parts", "blocks", "x"):
        shown, _ = send([*WORDS, block], key)
        assert shown.additional_kwargs[key] == [*WORDS, block]
    shown, message = send([block])
    assert shown is message


@pytest.mark.parametrize("key", ["documents", "tool_calls", "metadata", "output"])
def test_keys_that_hold_no_content_may_name_pictures(key: str) -> None:
    items = [{"title": "a", "url": LINK, "picture": "a.png", "snippet": "b"}]
    shown, message = send(items, key)
    assert shown is message


@pytest.mark.parametrize("holder", ["picture", "image", "images", "photo"])
def test_a_picture_under_a_key_is_cleaned(holder: str) -> None:
    shown, _ = send([{"type": "shot", holder: RAW64}, {holder: png(UNSAFE)}])
    seen = repr(shown.additional_kwargs)
    assert RAW64[40:120] not in seen
    assert repr(png(UNSAFE)[40:80])[2:-1] not in seen
