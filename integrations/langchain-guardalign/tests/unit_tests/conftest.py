"""One image in every dialect, for the tests of whatever meets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guardalign_middleware.messages import parse_messages
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign.images import find_images
from tests.doubles import base64_png, data_url, png

Forms = Callable[[CanonicalImage], dict[str, Any]]


@pytest.fixture(scope="session")
def forms() -> Forms:
    """The blocks by the name of their dialect."""
    return _forms


@pytest.fixture(scope="session")
def pictures() -> Callable[[object], list[CanonicalImage]]:
    """Every image in a value, decoded, in reading order."""

    def decode(value: object) -> list[CanonicalImage]:
        parts = [found.part for found in find_images(value)]
        return [
            parse_messages([{"role": "user", "content": [part]}])[0].images[0] for part in parts
        ]

    return decode


def _forms(image: CanonicalImage) -> dict[str, Any]:
    b64, url, raw = base64_png(image), data_url(image), png(image)
    return {
        "v1 base64": {"type": "image", "base64": b64, "mime_type": "image/png", "id": "b1"},
        "v1 data url": {"type": "image", "url": url},
        "v0 base64": {
            "type": "image",
            "source_type": "base64",
            "data": b64,
            "mime_type": "image/png",
        },
        "v0 url": {"type": "image", "source_type": "url", "url": url},
        "openai": {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        "openai string": {"type": "image_url", "image_url": url},
        "openai responses": {"type": "input_image", "image_url": url},
        "openai file": {"type": "file", "file": {"filename": "a.png", "file_data": url}},
        "anthropic": {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": b64},
            "cache_control": {"type": "ephemeral"},
        },
        "anthropic data url": {"type": "image", "source": {"type": "url", "url": url}},
        "bedrock": {"image": {"format": "png", "source": {"bytes": raw}}},
        "google": {"type": "media", "mime_type": "image/png", "data": b64},
        "google bytes": {"type": "media", "mime_type": "image/png", "data": raw},
        "v1 file": {"type": "file", "base64": b64, "mime_type": "image/png"},
        "mcp": {"type": "image", "data": b64, "mimeType": "image/png"},
        "mcp without type": {"data": b64, "mimeType": "image/png"},
        "mcp resource": {
            "type": "resource",
            "resource": {"uri": "file:///a", "mimeType": "image/png", "blob": b64},
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
