"""A guard that only observes changes no picture, wherever it stands, and its records say so."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage

from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.testing import (
    all_red,
    data_url,
    picture,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import (
    ChatGuardAlign,
    GuardAlignMiddleware,
    ImageGuardDocumentTransformer,
    ImageGuardRunnable,
)
from langchain_support.agents import ASKED, SHOWN, ask, guarded, screenshot, script

Pictures = Callable[[object], list[CanonicalImage]]
ALL = (picture(), picture(red=True), all_red())


def observer() -> ImageGuard:
    return red_guard(red_config(mode="observe"))


@pytest.mark.parametrize("on_unsafe", ["mask", "notice", "block", "flag"])
def test_the_runnable(on_unsafe: str, pictures: Pictures) -> None:
    runnable = ImageGuardRunnable(guard=observer(), on_unsafe=on_unsafe)
    (message,) = runnable.invoke([ask(*ALL)])
    assert [each.sha256 for each in pictures(message)] == [each.sha256 for each in ALL]
    told = message.response_metadata["guardalign"]
    assert {each["decision"] for each in told["verdicts"]} == {"observe"}
    assert (told["masked"], told["blocked"]) == (0, 0)


def test_a_conversation_that_passes_twice_has_each_record_once(pictures: Pictures) -> None:
    runnable = ImageGuardRunnable(guard=observer())
    first = runnable.invoke([ask(*ALL)])
    again = runnable.invoke([*first, HumanMessage("go on")])
    assert again[0].response_metadata == first[0].response_metadata
    assert [each.sha256 for each in pictures(again)] == [each.sha256 for each in ALL]


def test_an_agent(pictures: Pictures) -> None:
    model = script(screenshot)
    agent = guarded(model, GuardAlignMiddleware(guard=observer()))
    agent.invoke({"messages": [ask(ASKED)]})
    seen = [each.sha256 for each in pictures(model.seen[1])]
    assert seen == [ASKED.sha256, SHOWN.sha256]


@pytest.mark.parametrize("on_unsafe", ["mask", "drop", "flag"])
def test_documents(on_unsafe: str, pictures: Pictures) -> None:
    cleaner = ImageGuardDocumentTransformer(guard=observer(), on_unsafe=on_unsafe)
    documents = [Document("a page", metadata={"image": data_url(each)}) for each in ALL]
    cleaned = cleaner.transform_documents(documents)
    seen = [pictures(each.metadata["image"])[0].sha256 for each in cleaned]
    assert seen == [each.sha256 for each in ALL]
    told = [each.metadata for each in cleaned]
    assert {each["guardalign_decision"] for each in told} == {"observe"}
    json.dumps(told)


def test_the_local_model() -> None:
    chain = red_chain(red_config(mode="observe"))
    answer = ChatGuardAlign(chain=chain).invoke([ask(*ALL)])
    assert answer.response_metadata["guardalign"]["verdicts"][2]["would_be"] == "block"
    assert len(chain.runner.calls[0].images) == 3  # type: ignore[attr-defined]
