"""A photo leaves the adapters about as large as it came, in its own format."""

from __future__ import annotations

import base64

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.llms import ChatMessage, ImageBlock

from guardalign_middleware import ImageGuard
from guardalign_middleware.testing import coarse_guard
from guardalign_middleware.testing.photos import file_of, photo
from langchain_guardalign import ImageGuardRunnable
from langchain_guardalign.testing import RecordingModel
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from llama_index_support.doubles import PlainLLM

pytestmark = pytest.mark.slow

MOST = 1.15


@pytest.fixture(scope="module")
def guard() -> ImageGuard:
    return coarse_guard()


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    """A photo of twelve megapixels, as a camera writes it."""
    return file_of(photo(4000, 3000), "JPEG", quality=90)


def test_langchain(guard: ImageGuard, jpeg: bytes) -> None:
    model = RecordingModel(answers=[AIMessage("A photo.")])
    block = {
        "type": "image",
        "base64": base64.b64encode(jpeg).decode(),
        "mime_type": "image/jpeg",
    }
    (ImageGuardRunnable(guard=guard) | model).invoke([HumanMessage([block])])
    (shown,) = model.seen[0][0].content
    data = base64.b64decode(shown["base64"])  # type: ignore[index]
    assert shown["mime_type"] == "image/jpeg"  # type: ignore[index]
    assert data[:3] == b"\xff\xd8\xff"
    assert data != jpeg
    assert len(data) <= MOST * len(jpeg)


def test_llama_index(guard: ImageGuard, jpeg: bytes) -> None:
    inner = PlainLLM()
    message = ChatMessage(role="user", blocks=[ImageBlock(image=jpeg, image_mimetype="image/jpeg")])
    GuardAlignGuardedLLM(llm=inner, guard=guard).chat([message])
    (block,) = inner.calls[0][0].blocks
    assert isinstance(block, ImageBlock)
    data = block.resolve_image().read()
    assert block.image_mimetype == "image/jpeg"
    assert data[:3] == b"\xff\xd8\xff"
    assert data != jpeg
    assert len(data) <= MOST * len(jpeg)
