"""Questions, pictures and nodes that the tests share."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.schema import ImageNode

from guardalign_middleware.testing import all_red, base64_png, open_png, picture, png, red_guard
from guardalign_middleware.types import CanonicalImage
from llama_index.llms.guardalign.images import in_anything
from llama_index_support.doubles import Subject

Make = Callable[[str], Subject]
GUARD = red_guard()
REPLY = GUARD.config.blocked_reply
SAFE, UNSAFE, BLOCKED = picture(), picture(red=True), all_red()

# The workflow engine reads every attribute of its agents, including deprecated ones.
ignore_agent_warnings = pytest.mark.filterwarnings(
    "ignore:is_running called from within a step:DeprecationWarning",
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore::pydantic.warnings.PydanticDeprecatedSince211",
)
# The multi-modal engine is deprecated, but still what an index returns.
ignore_engine_warnings = pytest.mark.filterwarnings(
    "ignore:Call to deprecated class SimpleMultiModalQueryEngine"
)


def image_block(image: CanonicalImage) -> ImageBlock:
    """An image as a block of a message."""
    return ImageBlock(image=png(image))


def ask(*blocks: Any) -> list[ChatMessage]:
    """A conversation of one question about what the blocks show."""
    return [ChatMessage(role="user", blocks=[*blocks, TextBlock(text="What is it?")])]


def image_node(image: CanonicalImage, **fields: Any) -> ImageNode:
    """An image as a node."""
    return ImageNode(image=base64_png(image), **fields)


def unsafe_node() -> ImageNode:
    """An unsafe image with a text, since an index ignores nodes without one."""
    return image_node(UNSAFE, image_mimetype="image/png", text="A photograph.")


def shown(node: object) -> CanonicalImage:
    """The picture that a node holds as bytes."""
    data = in_anything(node, "here").data
    assert data is not None
    return open_png(base64.b64decode(data))


def decisions(response: Any) -> list[str]:
    """The guard's decision on each image, as reported by a response."""
    return [item["decision"] for item in response.additional_kwargs["guardalign"]["verdicts"]]
