"""PDF files in every dialect: refused, noted, or replaced by the pictures of their pages."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.testing import EchoRunner, has_red, red_chain, red_config
from guardalign_middleware.testing.pdf import BLUE_PAGE, RED_PAGE, drawn_pdf, pdf_blocks_of
from langchain_guardalign import ChatGuardAlign

PAGES = IntakePolicy(pdf="pages", pdf_dpi=72)
REPORT = drawn_pdf(BLUE_PAGE, RED_PAGE)
DIALECTS = sorted(pdf_blocks_of(REPORT))


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
