"""Pictures and files under keys that a block of this type does not have."""

import base64
import io
from typing import Any

import numpy as np
import pytest

from guardalign_middleware.intake.declared import declared
from guardalign_middleware.intake.other_keys import other_payload
from guardalign_middleware.testing import data_url, picture, png

LINK = "https://example.org/a"
PDF = "data:application/pdf;base64,JVBERi0xLjcK"
RAW = png(picture())
B64 = base64.b64encode(RAW).decode()

LEADING: dict[str, dict[str, Any]] = {
    "no type, picture": {"image_url": LINK},
    "no type, picture in a mapping": {"image_url": {"url": LINK}},
    "no type, film": {"video_url": {"url": LINK}},
    "no type, frames": {"video_url": f"data:video/jpeg;base64,{B64},{B64}"},
    "no type, numbers": {"image_embeds": "UEsDBAAA"},
    "no type, numbers by name": {"image_embeds": {"pixel_values": "UEsDBAAA"}},
    "no type, address of a PIL picture": {"image_pil": LINK},
    "no type, file": {"file": {"file_id": "f"}},
    "no type, PDF": {"file": {"file_data": PDF}},
    "no type, PDF in a text": {"file_data": PDF},
    "no type, file by address": {"file_url": LINK},
    "no type, document by address": {"document_url": LINK},
    "no type, seen before": {"image_url": None, "uuid": "u"},
    "text": {"type": "text", "text": "x", "image_url": LINK},
    "text, numbers": {"type": "text", "text": "x", "image_embeds": "UEsDBAAA"},
    "text, film": {"type": "text", "text": "x", "video": LINK},
    "text, file": {"type": "text", "text": "x", "file_id": "f"},
    "text, seen before": {"type": "text", "text": "x", "image_embeds": None, "uuid": "u"},
    "text, capitals": {"type": "text", "text": "x", "Video_URL": LINK},
    "text, file by number": {"type": "text", "text": "x", "file_id": 0},
    "text, seen before, in a mapping": {"text": "x", "image_url": {"url": None}, "uuid": "u"},
    "numbers in a list": {"type": "text", "text": "x", "image_embeds": [1.5, 2]},
    "a stream of something else": {"type": "foo", "image": io.BytesIO(b"UEsDBAAA")},
    "thinking": {"type": "thinking", "thinking": "", "image_url": LINK},
    "reference": {"type": "tool_reference", "tool_name": "x", "image_url": LINK},
    "result": {"type": "tool_result", "content": "x", "image_url": LINK},
    "call": {"type": "tool_call", "name": "f", "args": {}, "image": LINK},
    "unknown kind": {"type": "foo", "video": LINK},
    "unknown kind, file": {"type": "foo", "files": [{"url": LINK}]},
    "text file": {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "x"},
        "image_embeds": "UEsDBAAA",
    },
    "sound": {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav", "image_url": LINK},
    "picture, film": {"type": "image", "base64": B64, "mime_type": "image/png", "video_url": LINK},
    "film, picture": {"type": "video_url", "video_url": {"url": LINK}, "image_url": LINK},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "nothing": {"type": "text", "text": "x", "image_url": None, "file": None, "video_url": ""},
    "nothing in lists": {"type": "text", "text": "x", "images": [], "file": {}, "image": False},
    "counts": {"type": "custom_event", "photos": 2, "videos": np.int64(0), "files": 1},
    "counts beside a text": {"type": "text", "text": "x", "images": 0, "file": True},
    "nothing in mappings": {"type": "text", "text": "x", "image_url": {"url": None}},
    "nothing in texts": {"type": "text", "text": "x", "image_url": {"url": ""}, "file": {}},
    "a buffer": {"type": "foo", "image": memoryview(RAW)},
    "a stream": {"type": "foo", "image": io.BytesIO(RAW)},
    "an id of a text": {"type": "text", "text": "x", "uuid": "u"},
    "a picture in base64": {"type": "foo", "image": B64},
    "a picture as a data URL": {"video_url": data_url(picture())},
    "pictures": {"images": [B64, RAW]},
    "names": {"file": "handbook.md", "file_name": "a.png", "file_id": "file-abc123", "text": "x"},
    "name of a file": {"file": {"filename": "handbook.md", "size": 3}},
    "numbers about a picture": {"image_width": 3, "image_index": 1, "video_title": "x"},
    "file that a tool wrote": {"type": "code_execution_output", "file_id": "file_011abc"},
    "link": {"type": "resource_link", "uri": LINK, "mimeType": "image/png", "name": "a"},
    "citation": {"type": "text", "text": "x", "annotations": [{"file_id": "f"}]},
    "arguments": {"type": "tool_use", "id": "1", "name": "f", "input": {"image_url": LINK}},
    "picture": {"type": "image_url", "image_url": {"url": data_url(picture())}},
    "picture of Bedrock": {"image": {"format": "png", "source": {"bytes": RAW}}},
    "film": {"type": "video", "video": ["a.png"]},
    "film of Bedrock": {"video": {"format": "mp4", "source": {"bytes": b"a"}}},
    "file": {"type": "file", "file": {"file_id": "f"}},
    "sound by address": {"audio_url": {"url": LINK}},
    "a key that is no text": {1: LINK},  # type: ignore[dict-item]
}


@pytest.mark.parametrize("block", LEADING.values(), ids=LEADING)
def test_a_key_that_may_lead_to_a_picture(block: dict[str, Any]) -> None:
    reason = other_payload(block, declared(block), "content[0]")
    assert reason is not None


@pytest.mark.parametrize("block", HARMLESS.values(), ids=HARMLESS)
def test_keys_that_lead_to_none(block: dict[str, Any]) -> None:
    assert other_payload(block, declared(block), "content[0]") is None


def test_a_list_that_holds_itself_is_no_endless_walk() -> None:
    pictures: list[Any] = [RAW]
    pictures.append(pictures)
    assert other_payload({"images": pictures}, None, "content[0]") is not None
