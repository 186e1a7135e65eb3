"""PDF files in every dialect: refused, noted, or replaced by the pictures of their pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.documents.base import Blob
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.testing import (
    EchoRunner,
    has_red,
    open_png,
    picture,
    png,
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
    pdf_blocks_of,
    scanned_pdf,
)
from langchain_guardalign import (
    ChatGuardAlign,
    GuardAlignMiddleware,
    ImageGuardDocumentTransformer,
    ImageGuardRunnable,
)
from langchain_guardalign.message_walk import find_images

REPORT = drawn_pdf(BLUE_PAGE, RED_PAGE)
DIALECTS = sorted(pdf_blocks_of(REPORT))
ALL_RED = drawn_pdf(BLUE_PAGE, ALL_RED_PAGE)
SAME_FORM: dict[str, Callable[[Any], bool]] = {
    "v1": lambda block: "base64" in block and block["mime_type"].startswith("image/"),
    "v1 data url": lambda block: "base64" in block,
    "v0": lambda block: block["source_type"] == "base64",
    "openai": lambda block: block["type"] == "image_url",
    "openai responses": lambda block: block["type"] == "input_image",
    "anthropic": lambda block: block["source"]["media_type"].startswith("image/"),
    "bedrock": lambda block: isinstance(block["image"]["source"]["bytes"], bytes),
    "google": lambda block: block["type"] == "media" and isinstance(block["data"], str),
    "google bytes": lambda block: block["type"] == "media" and isinstance(block["data"], bytes),
    "google inline": lambda block: "mimeType" in block["inlineData"],
    "mcp resource": lambda block: block["type"] == "image" and "mimeType" in block,
}
"""How a page is written in the place of a file in each dialect."""


def guarded(policy: IntakePolicy = PAGES, **options: Any) -> ImageGuardRunnable:
    return ImageGuardRunnable(guard=red_guard(red_config(intake=policy)), **options)


def reds(content: Any) -> list[bool]:
    """Whether each picture in a content has something red in it."""
    return [
        has_red(load_picture(found.part, found.place, IntakePolicy()))
        for found in find_images(HumanMessage(content))
    ]


def holds_file(value: object) -> bool:
    text = repr(value)
    return "JVBERi0" in text or "%PDF" in text or "application/pdf" in text


@pytest.mark.parametrize("dialect", DIALECTS)
class TestChatGuardAlign:
    def ask(self, dialect: str, policy: IntakePolicy) -> tuple[EchoRunner, Any]:
        runner = EchoRunner()
        chat = ChatGuardAlign(chain=red_chain(red_config(intake=policy), runner))
        block = pdf_blocks_of(REPORT)[dialect]
        question = HumanMessage([block, {"type": "text", "text": "what is it?"}])
        return runner, chat.invoke([question])

    def test_it_is_shown_the_cleaned_pages(self, dialect: str) -> None:
        runner, answer = self.ask(dialect, PAGES)
        (call,) = runner.calls
        shown = [image for message in call.messages for image in message.images]
        assert [has_red(image) for image in shown] == [False, False]
        verdicts = answer.response_metadata["guardalign"]["verdicts"]
        assert [record["decision"] for record in verdicts] == ["allow", "mask"]

    def test_it_is_refused_by_default(self, dialect: str) -> None:
        with pytest.raises(ImageRejected) as caught:
            self.ask(dialect, IntakePolicy())
        assert caught.value.reason == "pdf_not_allowed"

    def test_or_noted(self, dialect: str) -> None:
        runner, _ = self.ask(dialect, IntakePolicy(pdf="notice"))
        (call,) = runner.calls
        assert "not shown: it is a PDF file" in call.messages[-1].text


def test_a_tools_file_is_paged() -> None:
    runner = EchoRunner()
    chat = ChatGuardAlign(chain=red_chain(red_config(intake=PAGES), runner))
    block = pdf_blocks_of(REPORT)["v1"]
    chat.invoke([HumanMessage("read it"), ToolMessage([block], tool_call_id="1")])
    (call,) = runner.calls
    assert [has_red(image) for image in call.messages[-1].images] == [False, False]


@pytest.mark.parametrize("dialect", DIALECTS)
class TestRunnable:
    def test_cleaned_pages_stand_in_the_files_place(self, dialect: str) -> None:
        block = pdf_blocks_of(REPORT)[dialect]
        before = repr(block)
        (message,) = guarded().invoke([HumanMessage(["before", block, "behind"])])
        assert repr(block) == before
        first, *pages, last = message.content
        assert (first, last) == ("before", "behind")
        assert len(pages) == 2
        assert all(map(SAME_FORM[dialect], pages))
        assert reds(message.content) == [False, False]
        assert not holds_file(message.content)
        verdicts = message.response_metadata["guardalign"]["verdicts"]
        assert [each["decision"] for each in verdicts] == ["allow", "mask"]
        assert [each["source"][-6:] for each in verdicts] == ["#page1", "#page2"]

    def test_a_second_guard_finds_nothing(self, dialect: str) -> None:
        message = HumanMessage([pdf_blocks_of(REPORT)[dialect]])
        (once,) = guarded().invoke([message])
        (twice,) = guarded(IntakePolicy()).invoke([once])
        assert twice.content == once.content

    def test_it_is_refused_by_default(self, dialect: str) -> None:
        for data in (REPORT, scanned_pdf()):
            message = HumanMessage([pdf_blocks_of(data)[dialect]])
            with pytest.raises(ImageRejected) as caught:
                guarded(IntakePolicy()).invoke([message])
            assert caught.value.reason == "pdf_not_allowed"
            (noted,) = guarded(IntakePolicy(), on_refused="notice").invoke([message])
            assert "it is a PDF file, which is not read" in str(noted.content)
            assert not holds_file(noted.content)

    def test_a_notice_names_it_and_never_raises(self, dialect: str) -> None:
        message = HumanMessage([pdf_blocks_of(REPORT)[dialect], "what is it?"])
        (noted,) = guarded(IntakePolicy(pdf="notice")).invoke([message])
        assert "not shown: it is a PDF file, which is not read]" in str(noted.content)
        if dialect in {"openai", "anthropic"}:
            assert "[file report.pdf not shown" in str(noted.content)
        assert not holds_file(noted.content)

    def test_what_cannot_be_drawn_is_raised_or_noted(self, dialect: str) -> None:
        message = HumanMessage([pdf_blocks_of(encrypted_pdf())[dialect]])
        with pytest.raises(ImageRejected) as caught:
            guarded().invoke([message])
        assert caught.value.reason == "encrypted"
        older = [message, AIMessage("A file."), HumanMessage("And now?")]
        noted, *_ = guarded().invoke(older)
        assert "not shown: it is encrypted" in str(noted.content)

    def test_a_scan_with_a_findable_picture_is_paged(self, dialect: str) -> None:
        (message,) = guarded().invoke([HumanMessage([pdf_blocks_of(scanned_pdf())[dialect]])])
        assert len(message.content) == 2
        assert not holds_file(message.content)


@pytest.mark.parametrize("dialect", DIALECTS)
class TestUnscanned:
    def test_it_passes_as_long_as_the_policy_refuses_it(self, dialect: str) -> None:
        for data in (REPORT, scanned_pdf(), encrypted_pdf()):
            message = HumanMessage([pdf_blocks_of(data)[dialect]])
            (same,) = guarded(IntakePolicy(), allow_unscanned=True).invoke([message])
            assert same.content == message.content
            about = same.response_metadata["guardalign"]
            assert about["unscanned"] == 1
            assert [each["action"] for each in about["verdicts"]] == ["unscanned"]

    def test_else_the_policy_decides(self, dialect: str) -> None:
        for policy in (PAGES, IntakePolicy(pdf="notice")):
            message = HumanMessage([pdf_blocks_of(REPORT)[dialect]])
            (new,) = guarded(policy, allow_unscanned=True).invoke([message])
            assert not holds_file(new.content)
            assert "unscanned" not in new.response_metadata["guardalign"]
        message = HumanMessage([pdf_blocks_of(encrypted_pdf())[dialect]])
        with pytest.raises(ImageRejected):
            guarded(allow_unscanned=True).invoke([message])

    def test_a_picture_never_passes_as_a_file(self, dialect: str) -> None:
        message = HumanMessage([pdf_blocks_of(png(picture(red=True)))[dialect]])
        with pytest.raises((ImageRejected, MessageError)):
            guarded(IntakePolicy(), allow_unscanned=True).invoke([message])


class TestPositions:
    BLOCK = pdf_blocks_of(REPORT)["anthropic"]

    def test_the_cache_point_goes_to_the_last_page(self) -> None:
        (message,) = guarded().invoke([HumanMessage([self.BLOCK])])
        assert ["cache_control" in block for block in message.content] == [False, True]

    def test_a_blocked_page_is_answered_or_noted(self) -> None:
        message = HumanMessage([pdf_blocks_of(ALL_RED)["v1"]])
        (noted,) = guarded(on_blocked="notice").invoke([message])
        picture, note = noted.content
        assert picture["type"] == "image"
        assert note["type"] == "text"
        (noted,) = guarded(on_unsafe="notice").invoke([message])
        assert [block["type"] for block in noted.content] == ["image", "text"]

    def test_flag_changes_nothing_and_records_every_page(self) -> None:
        message = HumanMessage([self.BLOCK])
        (same,) = guarded(on_unsafe="flag").invoke([message])
        assert same.content == message.content
        verdicts = same.response_metadata["guardalign"]["verdicts"]
        assert [each["decision"] for each in verdicts] == ["allow", "mask"]

    @pytest.mark.parametrize(
        "content",
        [
            [{"type": "tool_result", "tool_use_id": "t", "content": [BLOCK]}],
            [{"type": "tool_result", "tool_use_id": "t", "content": BLOCK}],
            [{"type": "non_standard", "value": pdf_blocks_of(REPORT)["openai responses"]}],
        ],
        ids=["in a list", "alone", "non-standard"],
    )
    def test_inside_other_blocks(self, content: list[Any]) -> None:
        (message,) = guarded().invoke([HumanMessage(content)])
        assert reds(message.content) == [False, False]
        assert not holds_file(message.content)
        json.dumps(message.content)

    def test_a_thumbnail_never_makes_it_count_as_read(self) -> None:
        block = {**pdf_blocks_of(REPORT)["v1"], "extras": {"thumbnail": "data:image/png;base64,AA"}}
        with pytest.raises(ImageRejected):
            guarded(IntakePolicy()).invoke([HumanMessage([block])])
        (message,) = guarded().invoke([HumanMessage([block])])
        assert len(message.content) == 2

    def test_system_and_tool_messages(self) -> None:
        messages: list[BaseMessage] = [
            SystemMessage([self.BLOCK]),
            HumanMessage("read it"),
            AIMessage("", tool_calls=[{"name": "read", "args": {}, "id": "1"}]),
            ToolMessage([self.BLOCK], tool_call_id="1"),
        ]
        cleaned = guarded().invoke(messages)
        for index in (0, 3):
            assert reds(cleaned[index].content) == [False, False]


class ShownMessages(FakeMessagesListChatModel):
    """Answers from a list, and remembers what it was shown."""

    shown: list[list[BaseMessage]] = []

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.shown.append(messages)
        return super()._generate(messages, *args, **kwargs)


def test_an_agent_reads_a_file_by_a_tool() -> None:
    @tool
    def read_file(path: str) -> list[dict[str, Any]]:
        """Read a file."""
        return [pdf_blocks_of(REPORT)["v1"]]

    call = {"name": "read_file", "args": {"path": "report.pdf"}, "id": "1"}
    model = ShownMessages(responses=[AIMessage("", tool_calls=[call]), AIMessage("Done.")])
    guard = red_guard(red_config(intake=PAGES))
    agent = create_agent(model, [read_file], middleware=[GuardAlignMiddleware(guard=guard)])
    state = agent.invoke({"messages": [HumanMessage("Read report.pdf.")]})
    for messages in (model.shown[-1], state["messages"]):
        result = next(each for each in messages if isinstance(each, ToolMessage))
        assert reds(result.content) == [False, False]
        assert not holds_file(result.content)


class TestDocuments:
    BLOCK = pdf_blocks_of(REPORT)["v1"]
    BLOB = Blob(data=REPORT, mimetype="application/pdf", path="report.pdf")

    def transformed(
        self, policy: IntakePolicy, value: Any = BLOCK, **options: Any
    ) -> dict[str, Any]:
        guard = red_guard(red_config(intake=policy))
        original = Document("a summary", metadata={"file": value, "source": "report.pdf"})
        transformer = ImageGuardDocumentTransformer(guard=guard, **options)
        (document,) = transformer.transform_documents([original])
        assert document.page_content == "a summary"
        assert document.metadata["source"] == "report.pdf"
        assert original.metadata["file"] is value
        return document.metadata

    def test_a_block_becomes_its_pages(self) -> None:
        metadata = self.transformed(PAGES)
        assert reds(metadata["file"]) == [False, False]
        assert metadata["guardalign_masked"] == 1
        metadata = self.transformed(PAGES, ["before", self.BLOCK, "behind"])
        assert len(metadata["file"]) == 4

    def test_in_a_format_that_the_policy_accepts(self) -> None:
        policy = IntakePolicy(pdf="pages", pdf_dpi=72, formats=("JPEG",))
        for value in (self.BLOCK, self.BLOB):
            metadata = self.transformed(policy, value)
            assert metadata["guardalign_decision"] == "mask"
            types = {
                page.mimetype if isinstance(page, Blob) else page["mime_type"]
                for page in metadata["file"]
            }
            assert types == {"image/jpeg"}

    def test_so_does_a_blob(self) -> None:
        metadata = self.transformed(PAGES, self.BLOB)
        pages = metadata["file"]
        assert [type(page) for page in pages] == [Blob, Blob]
        assert not any(has_red(open_png(page.data)) for page in pages)
        assert all(page.mimetype == "image/png" for page in pages)
        assert metadata["guardalign_masked"] == 1

    @pytest.mark.parametrize("value", [BLOCK, BLOB], ids=["block", "blob"])
    def test_or_it_is_refused_or_noted(self, value: Any) -> None:
        metadata = self.transformed(IntakePolicy(), value)
        assert (
            metadata["file"] == "[file report.pdf not shown: it is a PDF file, which is not read]"
        )
        assert metadata["guardalign_reason"] == "pdf_not_allowed"
        with pytest.raises(ImageRejected) as caught:
            self.transformed(IntakePolicy(), value, on_refused="raise")
        assert caught.value.reason == "pdf_not_allowed"
        noted = self.transformed(IntakePolicy(pdf="notice"), value, on_refused="raise")
        assert noted["file"] == metadata["file"]

    @pytest.mark.parametrize("value", [BLOCK, [BLOB], {"a": BLOB}], ids=["block", "list", "map"])
    def test_or_it_stays_and_is_counted(self, value: Any) -> None:
        metadata = self.transformed(IntakePolicy(), value, allow_unscanned=True)
        assert metadata["file"] == value
        (record,) = json.loads(metadata["guardalign_verdicts"])
        assert record["action"] == "unscanned"
        for policy in (PAGES, IntakePolicy(pdf="notice")):
            assert not holds_file(self.transformed(policy, value, allow_unscanned=True)["file"])

    @pytest.mark.parametrize("data", [png(picture(red=True)), drawn_pdf()])
    def test_a_picture_never_stays_as_a_file(self, data: bytes) -> None:
        blob = Blob(data=data, mimetype="application/pdf")
        metadata = self.transformed(IntakePolicy(), blob, allow_unscanned=True)
        (record,) = json.loads(metadata["guardalign_verdicts"])
        unsafe = data[:4] != b"%PDF"
        assert record["action"] == ("mask" if unsafe else "unscanned")
        assert not unsafe or not has_red(open_png(metadata["file"].data))

    @pytest.mark.parametrize(
        "value",
        [
            {"type": "image", "source": "report.pdf", "page": 3},
            {"type": "file", "mime_type": "application/pdf", "url": "https://a.example/r.pdf"},
            Blob(path="report.pdf", mimetype="application/pdf"),
            "report.pdf",
        ],
    )
    def test_what_only_names_a_file_is_left_alone(self, value: Any) -> None:
        for policy in (PAGES, IntakePolicy()):
            assert self.transformed(policy, value)["file"] == value
