"""Another LLM behind the guard: endpoints, blocks, refusals, copies."""

from __future__ import annotations

import asyncio
import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    CachePoint,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms import AudioBlock, ChatMessage, ImageBlock, TextBlock
from llama_index.core.schema import ImageDocument

from guardalign_middleware import notices
from guardalign_middleware.errors import DetectionError, ImageRejected, MessageError
from guardalign_middleware.testing import (
    base64_png,
    data_url,
    has_red,
    picture,
    png,
    red_config,
    red_guard,
)
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from llama_index_support.conversations import (
    BLOCKED,
    GUARD,
    SAFE,
    UNSAFE,
    ask,
    decisions,
    image_block,
    image_node,
)
from llama_index_support.doubles import (
    Held,
    PlainLLM,
    ToolLLM,
    beside,
    counted_loads,
    own_preset,
)

BLOCKS = {
    "bytes": lambda data: ImageBlock(image=data),
    "data url": lambda data: ImageBlock(url=data_url(UNSAFE)),
    "citable": lambda data: CitableBlock(title="t", source="s", content=[ImageBlock(image=data)]),
    "citation": lambda data: CitationBlock(
        cited_content=ImageBlock(image=data), source="s", title="t", additional_location_info={}
    ),
    "document": lambda data: DocumentBlock(data=data, document_mimetype="image/png"),
    "document in citable": lambda data: CitableBlock(
        title="t",
        source="s",
        content=[
            TextBlock(text="a"),
            DocumentBlock(data=data, document_mimetype="image/png"),
        ],
    ),
}


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("role", ["user", "system", "tool", "assistant", "function", "developer"])
def test_an_unsafe_image_is_masked_in_every_block_and_role(
    llm: GuardAlignGuardedLLM, inner: Any, kind: str, role: str
) -> None:
    messages = [ChatMessage(role=role, blocks=[BLOCKS[kind](png(UNSAFE))]), *ask()]
    response = llm.chat(messages)
    assert [has_red(image) for image in inner.seen] == [False]
    assert decisions(response) == ["mask"]
    assert inner.calls[0][0].role == role
    assert response.message.content == "I see."


def test_loose_images_are_guarded_and_those_in_both_places_shown_once(
    llm: GuardAlignGuardedLLM, inner: Any
) -> None:
    document = ImageDocument(image=base64_png(UNSAFE))
    made = ChatMessage(role="user", content="Look.", additional_kwargs={"images": [document]})
    later = ChatMessage(role="user", content="Look.", additional_kwargs={"id": "7"})
    later.additional_kwargs["images"] = [document, base64_png(SAFE)]
    llm.chat([made, later])
    assert [has_red(image) for image in inner.seen] == [False] * 3
    assert inner.calls[0][1].additional_kwargs == {"id": "7"}


def test_an_allowed_image_is_sent_as_the_pixels_that_were_scanned(
    llm: GuardAlignGuardedLLM, inner: Any, tmp_path: Any
) -> None:
    """Red under full transparency: the guard sees white, a decoder that drops alpha sees red."""
    hidden = UNSAFE.to_pil().convert("RGBA")
    hidden.putalpha(0)
    hidden.save(tmp_path / "a.png")
    llm.chat(ask(ImageBlock(image=(tmp_path / "a.png").read_bytes())))
    (image,) = inner.seen
    assert (image.pixels == 255).all()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_blocked_image_never_reaches_the_llm(
    llm: GuardAlignGuardedLLM, inner: Any, streamed: bool
) -> None:
    messages = ask(image_block(BLOCKED))
    response = list(llm.stream_chat(messages))[-1] if streamed else llm.chat(messages)
    assert inner.calls == []
    assert response.message.content == GUARD.config.blocked_reply
    assert response.raw["guardalign"]["finish_reason"] == "blocked"
    assert decisions(response) == ["block"]


async def test_all_endpoints_refuse_a_blocked_image(llm: GuardAlignGuardedLLM, inner: Any) -> None:
    messages = ask(image_block(BLOCKED))
    reply = GUARD.config.blocked_reply
    assert (await llm.achat(messages)).message.content == reply
    assert [c.message.content async for c in await llm.astream_chat(messages)][-1] == reply
    documents = [image_node(BLOCKED)]
    for response in (
        llm.complete("What?", image_documents=documents),
        list(llm.stream_complete("What?", image_documents=documents))[-1],
        await llm.acomplete("What?", image_documents=documents),
        [c async for c in await llm.astream_complete("What?", image_documents=documents)][-1],
    ):
        assert response.text == reply
        assert response.additional_kwargs["guardalign"]["finish_reason"] == "blocked"
    assert inner.calls == []
    assert inner.prompts == []


async def test_all_endpoints_clean_and_report(llm: GuardAlignGuardedLLM, inner: Any) -> None:
    messages = ask(image_block(UNSAFE))
    documents = [image_block(UNSAFE)]
    responses: list[Any] = [
        llm.chat(messages, temperature=0.5),
        list(llm.stream_chat(messages, temperature=0.5))[-1],
        await llm.achat(messages, temperature=0.5),
        [c async for c in await llm.astream_chat(messages, temperature=0.5)][-1],
        llm.complete("What?", image_documents=documents, temperature=0.5),
        list(llm.stream_complete("What?", image_documents=documents, temperature=0.5))[-1],
        await llm.acomplete("What?", image_documents=documents, temperature=0.5),
        [
            c
            async for c in await llm.astream_complete(
                "What?", image_documents=documents, temperature=0.5
            )
        ][-1],
    ]
    for response in responses:
        text = response.text if hasattr(response, "text") else response.message.content
        assert text == "I see."
        assert decisions(response) == ["mask"]
        assert response.raw["guardalign"] == response.additional_kwargs["guardalign"]
        assert response.raw["id"] == "1"
    assert [has_red(image) for image in inner.seen] == [False] * 8
    assert inner.kwargs == [{"temperature": 0.5}] * 8


async def test_a_prompt_without_images_stays_a_completion(inner: Any) -> None:
    """And needs no guard: this preset could not be loaded."""
    llm = GuardAlignGuardedLLM(llm=inner, preset="mini")
    assert llm.complete("a").text == "I read."
    assert list(llm.stream_complete("b"))[-1].text == "I read."
    assert (await llm.acomplete("c")).text == "I read."
    assert [x.text async for x in await llm.astream_complete("d")][-1] == "I read."
    assert inner.prompts == ["a", "b", "c", "d"]
    assert llm.chat(ask()).message.content == "I see."
    assert llm._lazy._loaded is None


@pytest.mark.parametrize(
    "block",
    [ImageBlock(url="http://127.0.0.1:9/a.png"), ImageBlock(), ImageBlock(image=b"no picture")],
)
@pytest.mark.parametrize("call", ["chat", "stream_chat"])
def test_what_cannot_be_scanned_is_refused_at_the_call(
    llm: GuardAlignGuardedLLM, inner: Any, block: Any, call: str
) -> None:
    with pytest.raises((ImageRejected, MessageError), match=r"messages\[0\]"):
        getattr(llm, call)(ask(block))
    assert inner.calls == []


def test_a_fault_of_the_guard_is_no_answer(inner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise DetectionError("not finite", stage="transport")

    guard = red_guard()
    monkeypatch.setattr(guard, "sanitize_many", fail)
    with pytest.raises(DetectionError):
        GuardAlignGuardedLLM(llm=inner, guard=guard).chat(ask(image_block(UNSAFE)))
    assert inner.calls == []


@pytest.mark.parametrize(
    "block",
    [VideoBlock(video=b"film"), DocumentBlock(data=b"%PDF", document_mimetype="application/pdf")],
    ids=["video", "pdf"],
)
def test_unscannable_blocks_need_permission_and_are_counted(inner: Any, block: Any) -> None:
    with pytest.raises((MessageError, ImageRejected), match="allow_unscanned"):
        GuardAlignGuardedLLM(llm=inner, guard=GUARD).chat(ask(block))
    assert inner.calls == []
    llm = GuardAlignGuardedLLM(llm=inner, guard=GUARD, allow_unscanned=True)
    response = llm.chat(ask(block))
    assert response.additional_kwargs["guardalign"] == {"verdicts": [], "unscanned": 1}
    assert inner.calls[0][0].blocks[0] == block


async def test_images_may_stand_where_older_programs_put_them(
    llm: GuardAlignGuardedLLM, inner: Any
) -> None:
    images = [image_block(UNSAFE)]
    llm.complete("What?", images)
    list(llm.stream_complete("What?", images))
    await llm.acomplete("What?", images)
    assert [piece async for piece in await llm.astream_complete("What?", images)]
    assert inner.saw_only_clean_images(4)


@pytest.mark.parametrize("name", ["images", "image_documents"])
def test_images_in_keywords_are_refused(llm: GuardAlignGuardedLLM, name: str) -> None:
    with pytest.raises(MessageError, match=name):
        llm.chat(ask(), **{name: [image_block(UNSAFE)]})


OTHERS = [
    TextBlock(text="a"),
    AudioBlock(audio=b"beep"),
    ThinkingBlock(content="hm"),
    CachePoint(cache_control={"type": "ephemeral"}),
    ToolCallBlock(tool_name="look", tool_kwargs={"x": 1}),
    CitableBlock(title="t", source="s", content=[TextBlock(text="b")]),
]
IMAGES = [image_block(UNSAFE), image_block(SAFE), ImageBlock(image=b"")]


@settings(deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from(OTHERS) | st.sampled_from(IMAGES[:2]) | st.just(image_block(BLOCKED)),
            max_size=4,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_other_blocks_are_the_same_objects_in_the_same_places(rows: list[list[Any]]) -> None:
    messages = [ChatMessage(role="user", blocks=blocks) for blocks in rows]
    before = [list(message.blocks) for message in messages]
    inner = PlainLLM()
    GuardAlignGuardedLLM(llm=inner, guard=GUARD, on_blocked="notice").chat(messages)
    (cleaned,) = inner.calls
    assert [message.blocks for message in messages] == before
    for message, copied in zip(messages, cleaned, strict=True):
        assert len(copied.blocks) == len(message.blocks)
        for block, shown in zip(message.blocks, copied.blocks, strict=True):
            if not isinstance(block, ImageBlock):
                assert shown is block
            elif isinstance(shown, TextBlock):
                assert shown.text == notices.UNSAFE
            else:
                assert shown.image != block.image or not has_red(GUARD.load(_bytes(block)))
                assert not has_red(GUARD.load(_bytes(shown)))
        if not any(isinstance(block, ImageBlock) for block in message.blocks):
            assert copied is message


def _bytes(block: ImageBlock) -> bytes:
    return bytes(block.resolve_image().read())


def test_leaving_a_stream_closes_the_inner_one(
    llm: GuardAlignGuardedLLM, inner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    original = type(inner).stream_chat

    def stream(self: Any, messages: Any, **kwargs: Any) -> Any:
        try:
            yield from original(self, messages, **kwargs)
        finally:
            closed.append(True)

    monkeypatch.setattr(type(inner), "stream_chat", stream)
    pieces = llm.stream_chat(ask())
    assert next(pieces).delta == "I"
    pieces.close()
    assert closed == [True]


async def test_the_event_loop_runs_on_while_the_guard_works(
    inner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = red_guard()
    held = Held(guard.sanitize_many)
    monkeypatch.setattr(guard, "sanitize_many", held)
    llm = GuardAlignGuardedLLM(llm=inner, guard=guard)
    response = await beside(llm.achat(ask(image_block(UNSAFE))), held)
    assert response.message.content == "I see."


async def test_the_first_of_many_tasks_goes_on_after_its_own_scan(
    inner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A single thread: were a scan waiting in it, no answer could start.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    guard = red_guard()
    encoder: Any = guard.detector.meters[0].encoder
    encode, passes = encoder.encode_images, threading.Semaphore(0)

    def gated(pixels: Any) -> Any:
        assert passes.acquire(timeout=300)
        return encode(pixels)

    monkeypatch.setattr(encoder, "encode_images", gated)
    llm = GuardAlignGuardedLLM(llm=inner, guard=guard)
    tasks = [
        asyncio.create_task(llm.achat(ask(image_block(picture(side=64 + side)))))
        for side in range(16)
    ]
    while len(guard.detector.queue) < 15:
        await asyncio.sleep(0.001)
    passes.release()
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting), len(guard.detector.queue)) == (1, 15, 14)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert len(guard.detector.queue) == 0  # all have given up their turns
    passes.release()


def test_the_callers_messages_are_not_changed(llm: GuardAlignGuardedLLM) -> None:
    messages = ask(image_block(UNSAFE), BLOCKS["citable"](png(UNSAFE)))
    messages[0].additional_kwargs["images"] = [base64_png(SAFE)]
    before = copy.deepcopy(messages)
    llm.chat(messages)
    assert messages == before


def test_it_can_be_copied_and_written_down() -> None:
    llm = GuardAlignGuardedLLM(llm=ToolLLM(), guard=GUARD)
    copied = copy.deepcopy(llm)
    assert type(copied) is type(llm)
    assert copied._lazy.get() is GUARD
    assert decisions(copied.chat(ask(image_block(UNSAFE)))) == ["mask"]
    assert llm.to_dict()["llm"]["class_name"] == "plain"


def test_the_guard_is_loaded_once(
    inner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = counted_loads(monkeypatch)
    llm = GuardAlignGuardedLLM(llm=inner, preset=own_preset(tmp_path))
    assert loads == []
    llm.chat(ask(image_block(UNSAFE)))
    copy.deepcopy(llm).chat(ask(image_block(UNSAFE)))
    assert len(loads) == 1


def test_the_reply_to_a_blocked_image_is_the_presets(inner: Any) -> None:
    guard = red_guard(red_config(blocked_reply="No."))
    llm = GuardAlignGuardedLLM(llm=inner, guard=guard)
    assert llm.chat(ask(image_block(BLOCKED))).message.content == "No."
