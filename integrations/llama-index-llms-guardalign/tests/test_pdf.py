"""PDF files in messages: refused, noted, or replaced by the pictures of their pages."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
)
from llama_index.core.memory import ChatMemoryBuffer

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.testing import (
    EchoRunner,
    has_red,
    open_png,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.testing.pdf import (
    ALL_RED_PAGE,
    BLUE_PAGE,
    PAGES,
    RED_PAGE,
    drawn_pdf,
    encrypted_pdf,
    scanned_pdf,
)
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignMultiModal, guard_memory
from llama_index_support.doubles import PlainLLM

REPORT = drawn_pdf(BLUE_PAGE, RED_PAGE, BLUE_PAGE)
ALL_RED = drawn_pdf(BLUE_PAGE, ALL_RED_PAGE)


def document(data: bytes = REPORT, **fields: Any) -> DocumentBlock:
    return DocumentBlock(data=data, document_mimetype="application/pdf", **fields)


def user(*blocks: Any) -> ChatMessage:
    return ChatMessage(role=MessageRole.USER, blocks=[*blocks, TextBlock(text="what is it?")])


def reds(message: ChatMessage) -> list[bool]:
    """Whether each picture of a message has something red in it."""
    return [
        has_red(open_png(block.resolve_image().read()))
        for block in message.blocks
        if isinstance(block, ImageBlock)
    ]


def send(
    *messages: ChatMessage, policy: IntakePolicy = PAGES, **options: Any
) -> tuple[list[ChatMessage], Any]:
    """What the inner LLM is shown, and the response."""
    inner = PlainLLM()
    guard = red_guard(red_config(intake=policy))
    response = GuardAlignGuardedLLM(llm=inner, guard=guard, **options).chat(list(messages))
    return (list(inner.calls[0]) if inner.calls else []), response


class TestGuardedLLM:
    def test_cleaned_pages_stand_in_the_files_place(self) -> None:
        message = user(TextBlock(text="before"), document(title="report.pdf"))
        before = message.model_dump()
        (shown,), response = send(message)
        kinds = [type(block) for block in shown.blocks]
        assert kinds == [TextBlock, ImageBlock, ImageBlock, ImageBlock, TextBlock]
        assert reds(shown) == [False] * 3
        verdicts = response.raw["guardalign"]["verdicts"]
        assert [each["decision"] for each in verdicts] == ["allow", "mask", "allow"]
        assert [each["source"] for each in verdicts] == [f"report.pdf#page{n}" for n in (1, 2, 3)]
        assert message.model_dump() == before

    def test_what_is_forwarded_is_what_was_drawn(self) -> None:
        (shown,), _ = send(user(document(drawn_pdf(BLUE_PAGE))))
        assert all(b"%PDF" not in repr(block).encode() for block in shown.blocks)
        assert open_png(shown.blocks[0].resolve_image().read()).pixels.shape == (64, 64, 3)

    @pytest.mark.parametrize(
        "block",
        [
            document(io.BytesIO(REPORT)),  # type: ignore[arg-type]
            document(base64.b64encode(REPORT)),
            DocumentBlock(data=REPORT),
            DocumentBlock(url=f"data:application/pdf;base64,{base64.b64encode(REPORT).decode()}"),
            CitableBlock(title="report", source="here", content=[document()]),
        ],
        ids=["file object", "base64", "type guessed", "data url", "nested"],
    )
    def test_every_form(self, block: Any) -> None:
        (shown,), response = send(user(block))
        assert len(response.raw["guardalign"]["verdicts"]) == 3
        inner = shown.blocks[0].content if isinstance(block, CitableBlock) else shown.blocks[:3]
        assert [type(each) for each in inner] == [ImageBlock] * 3

    def test_paths_follow_the_policy(self, tmp_path: Path) -> None:
        path = tmp_path / "report"
        path.write_bytes(REPORT)
        block = DocumentBlock(path=path, document_mimetype="application/pdf")
        with pytest.raises(ImageRejected) as caught:
            send(user(block))
        assert caught.value.reason == "path_not_allowed"
        allowed = PAGES.model_copy(update={"allow_paths": True})
        (shown,), _ = send(user(block), policy=allowed)
        assert reds(shown) == [False] * 3

    def test_urls_are_fetched_by_the_programs_function_only(self) -> None:
        block = DocumentBlock(url="https://example.org/report.pdf")
        with pytest.raises(ImageRejected) as caught:
            send(user(block))
        assert caught.value.reason == "url_not_allowed"
        (shown,), _ = send(user(block), fetch=lambda url: REPORT)
        assert reds(shown) == [False] * 3

    def test_a_blocked_page_is_answered_or_noted(self) -> None:
        shown, response = send(user(document(ALL_RED)))
        assert not shown
        assert response.raw["guardalign"]["finish_reason"] == "blocked"
        (message,), _ = send(user(document(ALL_RED)), on_blocked="notice")
        kinds = [type(block) for block in message.blocks]
        assert kinds == [ImageBlock, TextBlock, TextBlock]

    @pytest.mark.parametrize(
        ("data", "reason"), [(encrypted_pdf(), "encrypted"), (b"%PDF-1.7", "corrupt")]
    )
    def test_what_cannot_be_drawn_is_raised_or_noted_by_its_place(
        self, data: bytes, reason: str
    ) -> None:
        with pytest.raises(ImageRejected) as caught:
            send(user(document(data)))
        assert caught.value.reason == reason
        older = [user(document(data)), ChatMessage("A file.", role="assistant"), user()]
        (first, *_), _ = send(*older)
        assert isinstance(first.blocks[0], TextBlock)
        assert "file not shown" in first.blocks[0].text
        (message,), _ = send(user(document(data)), on_refused="notice")
        assert "file not shown" in message.blocks[0].text

    def test_it_is_refused_by_default(self) -> None:
        for data in (REPORT, scanned_pdf()):
            with pytest.raises(ImageRejected) as caught:
                send(user(document(data)), policy=IntakePolicy())
            assert caught.value.reason == "pdf_not_allowed"

    def test_a_notice_names_it(self) -> None:
        policy = IntakePolicy(pdf="notice")
        for options in ({}, {"allow_unscanned": True}):
            (shown,), _ = send(user(document(title="report.pdf")), policy=policy, **options)
            assert shown.blocks[0].text == (
                "[file report.pdf not shown: it is a PDF file, which is not read]"
            )

    def test_a_scan_with_a_findable_picture_is_paged(self) -> None:
        (shown,), _ = send(user(document(scanned_pdf())))
        kinds = [type(block) for block in shown.blocks]
        assert kinds == [ImageBlock, ImageBlock, TextBlock]

    def test_a_tools_file_is_paged(self) -> None:
        tool = ChatMessage(role="tool", blocks=[document()])
        (_, shown), _ = send(user(), tool)
        assert reds(shown) == [False] * 3


class TestMultiModal:
    def ask(self, policy: IntakePolicy, *messages: ChatMessage) -> tuple[EchoRunner, Any]:
        runner = EchoRunner()
        llm = GuardAlignMultiModal(chain=red_chain(red_config(intake=policy), runner))
        return runner, llm.chat(list(messages))

    def test_it_is_shown_the_cleaned_pages(self) -> None:
        runner, response = self.ask(PAGES, user(document(title="report.pdf")))
        (call,) = runner.calls
        assert [has_red(image) for image in call.messages[-1].images] == [False] * 3
        verdicts = response.raw["guardalign"]["verdicts"]
        assert [each["source"] for each in verdicts] == [f"report.pdf#page{n}" for n in (1, 2, 3)]

    def test_it_is_refused_by_default_or_noted(self) -> None:
        with pytest.raises(ImageRejected) as caught:
            self.ask(IntakePolicy(), user(document()))
        assert caught.value.reason == "pdf_not_allowed"
        runner, _ = self.ask(IntakePolicy(pdf="notice"), user(document()))
        assert "not shown: it is a PDF file" in runner.calls[0].messages[-1].text

    def test_what_cannot_be_drawn_is_typed(self) -> None:
        with pytest.raises(ImageRejected) as caught:
            self.ask(PAGES, user(document(encrypted_pdf())))
        assert caught.value.reason == "encrypted"


class TestMemory:
    @pytest.mark.parametrize("held", [False, True])
    def test_it_remembers_the_cleaned_pages(self, held: bool) -> None:
        inner, raw = PlainLLM(), ChatMemoryBuffer.from_defaults(token_limit=20_000)
        llm = GuardAlignGuardedLLM(llm=inner, guard=red_guard(red_config(intake=PAGES)))
        if held:
            raw.put(user(document()))
        memory = guard_memory(raw, llm)
        if not held:
            memory.put(user(document()))
        (message,) = memory.get_all()
        assert reds(message) == [False] * 3
        llm.chat(memory.get())
        assert reds(inner.calls[0][0]) == [False] * 3


@pytest.mark.parametrize("pdf", ["refuse", "notice", "pages"])
def test_a_providers_block_follows_the_same_rule(pdf: Any) -> None:
    url = "data:application/pdf;base64," + base64.b64encode(REPORT).decode()
    older = ChatMessage("Read.", role="tool")
    older.additional_kwargs["content"] = [{"type": "input_file", "file_data": url}]
    policy = IntakePolicy(pdf=pdf, pdf_dpi=72)
    (shown, _), _ = send(older, user(), policy=policy, allow_unscanned=True)
    (block,) = shown.additional_kwargs["content"]
    assert ("file_data" in block) == (pdf == "refuse")
