"""The caps of one request, which the core sets, for messages and for nodes."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from llama_index.core.base.llms.types import DocumentBlock
from llama_index.core.llms import ChatMessage, TextBlock
from llama_index.core.schema import ImageNode, MediaResource, Node

from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError, OutOfMemory
from guardalign_middleware.intake import decode
from guardalign_middleware.testing import EchoRunner, png, red_config
from guardalign_middleware.testing.guards import red_detector
from guardalign_middleware.testing.pdf import BLUE_PAGE, drawn_pdf
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignMultiModal,
    node_pages,
    pdf_pages,
)
from llama_index_support.conversations import SAFE, image_block
from llama_index_support.doubles import PlainLLM


def guard(**caps: Any) -> ImageGuard:
    config = red_config(intake=IntakePolicy(**caps))
    return ImageGuard(config, red_detector(config))


@pytest.fixture(params=["guarded", "local"])
def llm_of(request: pytest.FixtureRequest) -> Any:
    def make(**caps: Any) -> Any:
        if request.param == "guarded":
            return GuardAlignGuardedLLM(llm=PlainLLM(), guard=guard(**caps))
        return GuardAlignMultiModal(chain=GuardAlign(guard(**caps), EchoRunner()))

    return make


def message(count: int, role: str = "user", text: str = "What is it?") -> ChatMessage:
    blocks = [*[image_block(SAFE)] * count, TextBlock(text=text)]
    return ChatMessage(role=role, blocks=blocks)


@pytest.mark.parametrize(
    "caps",
    [
        {"max_request_images": 2},
        {"max_request_pixels": 2 * SAFE.width * SAFE.height, "max_pixels": 4096},
    ],
)
def test_too_many_pictures_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch, llm_of: Any, caps: Any
) -> None:
    assert llm_of(**caps).chat([message(2)]).message.content
    with pytest.raises(ImageRejected, match="max_request"):
        llm_of(**caps).chat([message(3)])
    older = [message(1), message(0, "assistant"), message(2)]
    assert (
        llm_of(**caps).chat(older).raw["guardalign"]["refused"][0]["reason"].startswith("too_many")
    )


def test_too_much_text_and_too_many_messages_are_refused(llm_of: Any) -> None:
    with pytest.raises(MessageError, match="max_request_text"):
        llm_of(max_request_text=50).chat([message(0, text="x" * 60)])
    with pytest.raises(MessageError, match="max_request_messages"):
        llm_of(max_request_messages=2).chat([message(0)] * 3)


def test_no_page_is_drawn_and_no_picture_decoded_for_a_text_that_is_too_long(
    monkeypatch: pytest.MonkeyPatch, llm_of: Any
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(pdf_pages, "load_pdf_file", never)
    monkeypatch.setattr(node_pages, "load_pdf_file", never)
    monkeypatch.setattr(decode, "to_srgb_pixels", never)
    caps = {"max_request_text": 50, "pdf": "pages"}
    pdf = DocumentBlock(data=drawn_pdf(BLUE_PAGE), document_mimetype="application/pdf")
    long = ChatMessage(blocks=[pdf, image_block(SAFE), TextBlock(text="x" * 60)])
    with pytest.raises(MessageError, match="max_request_text"):
        llm_of(**caps).chat([long])
    data = base64.b64encode(drawn_pdf(BLUE_PAGE)).decode()
    held = MediaResource(data=data.encode(), mimetype="application/pdf")
    node = Node(text_resource=MediaResource(text="x" * 60), image_resource=held)
    with pytest.raises(MessageError, match="max_request_text"):
        GuardAlignImageTransform(guard=guard(**caps))([node])


def test_equal_pictures_are_decoded_once(monkeypatch: pytest.MonkeyPatch, llm_of: Any) -> None:
    loaded = []
    original = decode.to_srgb_pixels

    def counting(*args: Any) -> Any:
        loaded.append(args)
        return original(*args)

    monkeypatch.setattr(decode, "to_srgb_pixels", counting)
    assert llm_of().chat([message(3)]).message.content
    assert len(loaded) == 1


def test_a_lack_of_memory_is_a_fault(monkeypatch: pytest.MonkeyPatch, llm_of: Any) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(decode, "to_srgb_pixels", fail)
    with pytest.raises(OutOfMemory):
        llm_of().chat([message(1)])


def test_each_node_is_a_request_of_its_own() -> None:
    nodes = [ImageNode(image=base64.b64encode(png(SAFE)).decode()) for _ in range(3)]
    kept = GuardAlignImageTransform(guard=guard(max_request_images=1))(nodes)
    assert len(kept) == 3
    assert all(node.metadata["guardalign_decision"] == "allow" for node in kept)
    long = ImageNode(image=nodes[0].image, text="x" * 60)
    with pytest.raises(MessageError, match="max_request_text"):
        GuardAlignImageTransform(guard=guard(max_request_text=50))([long])
