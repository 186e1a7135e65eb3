"""An image in every form of content block that LangChain and its providers use."""

from __future__ import annotations

import base64
from typing import Any


def blocks_of(raw: bytes, mime_type: str) -> dict[str, Any]:
    """A content block in each dialect, by the dialect's name.

    Args:
        raw: the image file, which may be invalid.
        mime_type: its claimed type.
    """
    b64 = base64.b64encode(raw).decode("ascii")
    url = f"data:{mime_type};base64,{b64}"
    return {
        "v1 base64": {"type": "image", "base64": b64, "mime_type": mime_type, "id": "b1"},
        "v1 data url": {"type": "image", "url": url},
        "v0 base64": {
            "type": "image",
            "source_type": "base64",
            "data": b64,
            "mime_type": mime_type,
        },
        "v0 url": {"type": "image", "source_type": "url", "url": url},
        "openai": {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        "openai string": {"type": "image_url", "image_url": url},
        "openai responses": {"type": "input_image", "image_url": url},
        "openai file": {"type": "file", "file": {"filename": "a.png", "file_data": url}},
        "anthropic": {
            "type": "image",
            "source": {"type": "base64", "media_type": mime_type, "data": b64},
            "cache_control": {"type": "ephemeral"},
        },
        "anthropic data url": {"type": "image", "source": {"type": "url", "url": url}},
        "bedrock": {"image": {"format": "png", "source": {"bytes": raw}}},
        "google": {"type": "media", "mime_type": mime_type, "data": b64},
        "google bytes": {"type": "media", "mime_type": mime_type, "data": raw},
        "v1 file": {"type": "file", "base64": b64, "mime_type": mime_type},
        "mcp": {"type": "image", "data": b64, "mimeType": mime_type},
        "mcp without type": {"data": b64, "mimeType": mime_type},
        "mcp resource": {
            "type": "resource",
            "resource": {"uri": "file:///a", "mimeType": mime_type, "blob": b64},
        },
        "transformers": {"type": "image", "image": raw},
        "transformers data url": {"type": "image", "image": url},
        "openai drawn": {"type": "image_generation_call", "id": "ig", "result": b64},
        "openai computer": {
            "type": "computer_call_output",
            "call_id": "c",
            "output": {"type": "computer_screenshot", "image_url": url},
        },
        "non-standard": {
            "type": "non_standard",
            "value": {"type": "input_image", "image_url": url},
        },
        "tool result": {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [
                {"type": "text", "text": "seen"},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        },
        "text with a data url": {"type": "text", "text": f"before ![]({url}) after"},
    }
