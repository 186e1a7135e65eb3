"""Pictures leave LangChain's guards about as large as they came, and a second guard is free."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from mcp.types import ImageContent
from PIL import Image

from guardalign_middleware.config import OutputConfig
from guardalign_middleware.intake import load_image
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.output import PASSED
from guardalign_middleware.testing import (
    coarse_guard,
    counting_guard,
    picture,
    png,
    red_config,
    red_guard,
)
from guardalign_middleware.testing.dialects import blocks_of
from guardalign_middleware.testing.photos import file_of, photo
from langchain_guardalign import (
    GuardAlignMiddleware,
    ImageGuardDocumentTransformer,
    ImageGuardRunnable,
)
from langchain_guardalign.message_walk import find_images
from langchain_guardalign.testing import RecordingModel

RED = picture(red=True)
FORMATS = {"jpeg": "jpeg", "png": "png", "webp": "webp", "gif": "png", "bmp": "png"}
"""In which format a picture leaves, by the one in which it came."""


@pytest.fixture(autouse=True)
def _nothing_passed() -> None:
    PASSED.forget()


def ask(block: dict[str, Any]) -> HumanMessage:
    return HumanMessage([{"type": "text", "text": "What is it?"}, block])


def file_in(value: object) -> bytes:
    """The only picture in a value."""
    (found,) = find_images(value)
    file = load_picture(found.part, "test", red_config().intake).file
    assert file is not None
    return file


def openai(file: bytes, kind: str) -> dict[str, Any]:
    return blocks_of(file, f"image/{kind}")["openai"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quality", "subsampling"), [(85, 2), pytest.param(92, 0, marks=pytest.mark.evidence)]
)
def test_a_photo_of_12_megapixels_leaves_as_large_as_it_came(
    quality: int, subsampling: int
) -> None:
    file = file_of(photo(4000, 3000), "JPEG", quality=quality, subsampling=subsampling)
    (shown,) = ImageGuardRunnable(guard=coarse_guard()).invoke([ask(openai(file, "jpeg"))])
    assert len(file_in(shown)) <= 1.15 * len(file)
    assert shown.content[1]["image_url"]["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("red", [False, True])
@pytest.mark.parametrize("dialect", blocks_of(b"", ""))
@pytest.mark.parametrize("kind", FORMATS)
def test_every_dialect_states_the_type_of_what_it_holds(kind: str, dialect: str, red: bool) -> None:
    file = file_of(picture(red=red, side=64).to_pil(), kind.upper())
    block = blocks_of(file, f"image/{kind}")[dialect]
    if dialect == "bedrock":
        block["image"]["format"] = kind
    if dialect == "openai drawn":
        block["output_format"] = kind
    (shown,) = ImageGuardRunnable(guard=red_guard()).invoke([ask(block)])
    # In words, a safe picture keeps the form that it has.
    words = dialect.startswith("text") and not red
    expected = kind if words else FORMATS[kind]
    content = repr(shown.content)
    new = file_in(shown)
    with Image.open(io.BytesIO(new)) as opened:
        assert opened.format == expected.upper()
    if expected != kind:
        assert f"image/{kind}" not in content
    if dialect == "bedrock":
        assert shown.content[1]["image"]["format"] == expected
    # Its reader, ours included, believes what the block states.
    (again,) = ImageGuardRunnable(guard=red_guard()).invoke([shown])
    assert again.content == shown.content


def test_a_drawn_picture_that_becomes_a_jpeg_says_so() -> None:
    guard = red_guard(red_config(output=OutputConfig(max_bytes=10_000)))
    block = blocks_of(file_of(photo(96, 96), "PNG"), "image/png")["openai drawn"]
    message = AIMessage([block])
    (shown,) = ImageGuardRunnable(guard=guard).invoke([message])
    assert shown.content[0]["output_format"] == "jpeg"
    assert ImageGuardRunnable(guard=red_guard()).invoke([shown])[0].content


@pytest.mark.parametrize("kind", FORMATS)
def test_metadata_blobs_and_mcp_content_state_the_type(kind: str) -> None:
    file = file_of(picture().to_pil(), kind.upper())
    b64 = base64.b64encode(file).decode()
    new = f"image/{FORMATS[kind]}"
    metadata = {"image": file, "content_type": f"image/{kind}", "file_name": f"a.{kind}"}
    (document,) = ImageGuardDocumentTransformer(guard=red_guard()).transform_documents(
        [Document("words", metadata=metadata)]
    )
    assert document.metadata["content_type"] == new
    assert document.metadata["file_name"] == f"a.{FORMATS[kind]}"
    guard = ImageGuardRunnable(guard=red_guard())
    content = ImageContent(type="image", data=b64, mimeType=f"image/{kind}")
    assert guard.invoke({"content": content})["content"].mimeType == new
    blob = guard.invoke({"blob": Blob(data=file, mimetype=f"image/{kind}")})["blob"]
    assert blob.mimetype == new
    assert load_image(blob.data).encoding.image_format == FORMATS[kind].upper()


@pytest.mark.parametrize("red", [False, True])
@pytest.mark.parametrize("kind", ["jpeg", "png", "gif"])
def test_a_second_guard_changes_nothing_and_scans_nothing(kind: str, red: bool) -> None:
    quality = {"quality": 95} if kind == "jpeg" else {}
    message = ask(openai(file_of(picture(red=red).to_pil(), kind.upper(), **quality), kind))
    second, encoder = counting_guard()
    first = ImageGuardRunnable(guard=red_guard())
    both = first | ImageGuardRunnable(guard=second)
    assert both.invoke([message])[0].content == first.invoke([message])[0].content
    assert encoder.batches == 0


def test_a_middleware_behind_a_runnable_scans_nothing_in_any_turn_or_thread() -> None:
    outer, _ = counting_guard()
    inner, encoder = counting_guard()
    file = file_of(photo(96, 96), "JPEG", quality=85)
    model: BaseChatModel = RecordingModel(answers=[AIMessage("Fine.")] * 40)
    agent = create_agent(model, middleware=[GuardAlignMiddleware(guard=inner)])
    chain = ImageGuardRunnable(guard=outer) | agent

    def turns(_: int) -> None:
        state: dict[str, Any] = {"messages": []}
        for _ in range(2):
            state = chain.invoke({"messages": [*state["messages"], ask(openai(file, "jpeg"))]})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turns, range(4)))
    assert encoder.batches == 0


def test_original_leaves_allowed_blocks_untouched() -> None:
    guard = red_guard(red_config(output=OutputConfig(original=True)))
    file = file_of(picture().to_pil(), "GIF") + b"trailing"
    message = ask(openai(file, "gif"))
    (shown,) = ImageGuardRunnable(guard=guard).invoke([message])
    assert shown.content == message.content
    unsafe = png(RED) + b"trailing"
    (shown,) = ImageGuardRunnable(guard=guard).invoke([ask(openai(unsafe, "png"))])
    assert b"trailing" not in file_in(shown)


@pytest.mark.parametrize("on_unsafe", ["mask", "notice", "block"])
def test_what_was_scaled_down_is_declared(on_unsafe: Any) -> None:
    guard = red_guard(red_config(output=OutputConfig(max_side=64)))
    file = file_of(picture(side=160).to_pil(), "PNG")
    (shown,) = ImageGuardRunnable(guard=guard, on_unsafe=on_unsafe).invoke(
        [ask(openai(file, "png"))]
    )
    (record,) = shown.response_metadata["guardalign"]["verdicts"]
    assert record["resized"]["from_width"] == 160
    assert load_image(file_in(shown)).width == 64
