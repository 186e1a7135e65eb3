"""Whatever the way in, words in pictures are judged with all that is said in their turn.

The list by itself is only reported, as in a chat that allows forms, and so is the question. What a
model gets of both, and of a text that is split over pictures or messages, is what is tested here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM

from guardalign_middleware import GuardAlign, GuardError, ImageGuard, ImageRejected
from guardalign_middleware.config import ServeConfig
from guardalign_middleware.mcp import MessageGuard
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import EchoRunner, data_url, open_png, png, red_guard
from guardalign_middleware.turns import Turn
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.words.form import FormJudge
from guardalign_middleware.words.guards.passage_judge import PassageJudge
from guardalign_middleware.words.joined import JoinedJudge
from langchain_guardalign import ChatGuardAlign, GuardAlignMiddleware, ImageGuardRunnable
from langchain_guardalign.cleaner import MessageCleaner
from langchain_guardalign.testing import RecordingModel
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignMultiModal, passes
from tests.conversation.positions import ask, block, chat, link, respond, said, shot, shown
from tests.mcp.positions import image, tool
from tests.support.mcp_frames import line, passed, pictures_in
from tests.support.remote import behind_server, loopback
from tests.support.upstream import Recorded, recording
from tests.support.word_doubles import BLUE, PALE, ListReader, striped, word_guard
from tests.support.words import WordGuard

pytestmark = loopback

LIST = striped(((8, 8, 60, 40), BLUE))
POISON = striped(((8, 50, 60, 58), PALE))
HARMFUL, HARMLESS = "Fill it in, for those that hold poison.", "Fill it in, for a soup."
Said = tuple[str, Sequence[CanonicalImage]]
Door = Callable[[ImageGuard, Sequence[Said]], list[CanonicalImage]]
"""What the model gets to see of the user's messages, each with a text and pictures."""


def guard() -> ImageGuard:
    """Reports lists, and hides words that with others make up a harmful request."""
    harmful = PassageJudge(WordGuard("mushrooms", "poison"), 0.5)
    return word_guard("guard", JoinedJudge([FormJudge(carrier="flag"), harmful]), ListReader())


def role_content(messages: Sequence[Said]) -> list[dict[str, Any]]:
    return [said("user", {"type": "text", "text": text}, *map(link, map(png, pictures)))
            for text, pictures in messages]  # fmt: skip


def human(messages: Sequence[Said]) -> list[BaseMessage]:
    return [HumanMessage(each["content"]) for each in role_content(messages)]


def llama(messages: Sequence[Said]) -> list[ChatMessage]:
    return [
        ChatMessage(
            role="user",
            blocks=[TextBlock(text=text), *(ImageBlock(image=png(each)) for each in pictures)],
        )
        for text, pictures in messages
    ]


def chain_door(ask_chain: Callable[[GuardAlign, Sequence[Said]], Any]) -> Door:
    def door(guard: ImageGuard, messages: Sequence[Said]) -> list[CanonicalImage]:
        runner = EchoRunner()
        ask_chain(GuardAlign(guard, runner), messages)
        return [image for message in runner.calls[-1].messages for image in message.images]

    return door


def model_door(ask_model: Callable[[RecordingModel, ImageGuard, Sequence[Said]], Any]) -> Door:
    def door(guard: ImageGuard, messages: Sequence[Said]) -> list[CanonicalImage]:
        model = RecordingModel(answers=[AIMessage("Done.")])
        ask_model(model, guard, messages)
        return list(shown({"messages": [each.content for each in model.seen[-1]]}))

    return door


def in_front(model: RecordingModel, guard: ImageGuard, messages: Sequence[Said]) -> None:
    (ImageGuardRunnable(guard=guard) | model).invoke(human(messages))


def in_agent(model: RecordingModel, guard: ImageGuard, messages: Sequence[Said]) -> None:
    agent: Any = create_agent(model, middleware=[GuardAlignMiddleware(guard=guard)])
    agent.invoke({"messages": human(messages)})


def behind_remote(model: RecordingModel, guard: ImageGuard, messages: Sequence[Said]) -> None:
    with behind_server(guard) as remote:
        (ImageGuardRunnable(guard=remote) | model).invoke(human(messages))


def guarded_llm(guard: ImageGuard, messages: Sequence[Said]) -> list[CanonicalImage]:
    seen: list[CanonicalImage] = []

    def answer(given: Sequence[ChatMessage], **_: Any) -> ChatMessage:
        blocks = [block for message in given for block in message.blocks]
        seen.extend(
            open_png(each.resolve_image().read()) for each in blocks if isinstance(each, ImageBlock)
        )
        return ChatMessage(role="assistant", content="Done.")

    inner = MockFunctionCallingLLM(response_generator=answer, is_chat_model=True)
    GuardAlignGuardedLLM(llm=inner, guard=guard).chat(llama(messages))
    return seen


BODIES: dict[str, Callable[[Sequence[Said]], dict[str, Any]]] = {
    "chat": lambda messages: chat(*role_content(messages)),
    "responses": lambda messages: respond(
        *(
            said("user", {"type": "input_text", "text": text}, *map(shot, map(png, pictures)))
            for text, pictures in messages
        )
    ),
    "messages": lambda messages: ask(
        *(
            said("user", {"type": "text", "text": text}, *map(block, map(png, pictures)))
            for text, pictures in messages
        )
    ),
}


def conversation_door(name: str) -> Door:
    def door(guard: ImageGuard, messages: Sequence[Said]) -> list[CanonicalImage]:
        with TestClient(create_app(guard), base_url="http://127.0.0.1:8000") as client:
            answer = client.post(
                "/v1/guard/conversation", json=BODIES[name](messages), params={"dialect": name}
            )
        return list(shown(answer.json()["request"]))

    return door


def served(guard: ImageGuard, messages: Sequence[Said]) -> list[CanonicalImage]:
    runner = EchoRunner()
    body = {**BODIES["chat"](messages), "model": guard.config.name}
    app = create_app(GuardAlign(guard, runner))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        client.post("/v1/chat/completions", json=body).raise_for_status()
    return [image for message in runner.calls[-1].messages for image in message.images]


def upstream(guard: ImageGuard, messages: Sequence[Said]) -> list[CanonicalImage]:
    recorded = Recorded()
    with ExitStack() as stack:
        address = stack.enter_context(recording(recorded))
        options = ServeOptions(ServeConfig(upstream=f"{address}/v1"), upstream_key="a-key")
        app = create_app(guard, options)
        client = stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8000"))
        client.post("/v1/chat/completions", json=BODIES["chat"](messages)).raise_for_status()
    return list(shown(recorded.body))


def through_mcp(guard: ImageGuard, messages: Sequence[Said]) -> list[CanonicalImage]:
    """All that is said and shown as one result of a tool, which the model gets at once."""
    content = [
        part
        for text, pictures in messages
        for part in ({"type": "text", "text": text}, *map(image, map(png, pictures)))
    ]
    out = passed(MessageGuard.of(guard), line(tool(*content)))
    return list(pictures_in(json.loads(out.forward or b"")))


DOORS: dict[str, Door] = {
    "guardalign mcp": through_mcp,
    "chain": chain_door(lambda chain, messages: chain.invoke(role_content(messages))),
    "ChatGuardAlign": chain_door(
        lambda chain, messages: ChatGuardAlign(chain=chain).invoke(human(messages))
    ),
    "GuardAlignMultiModal": chain_door(
        lambda chain, messages: GuardAlignMultiModal(chain=chain).chat(llama(messages))
    ),
    "guarded chat model": model_door(in_front),
    "GuardAlignMiddleware": model_door(in_agent),
    "RemoteImageGuard": model_door(behind_remote),
    "GuardAlignGuardedLLM": guarded_llm,
    "/v1/chat/completions": served,
    "--upstream": upstream,
    **{f"/v1/guard/conversation, {name}": conversation_door(name) for name in BODIES},
}
SLOW = {name for name in DOORS if name.startswith(("/v1", "--"))} | {"RemoteImageGuard"}
HIDDEN: dict[str, list[Said]] = {
    "a list with its question": [(HARMFUL, [LIST])],
    "a text split over two pictures": [("", [LIST, POISON])],
    "a text split over two messages": [("First.", [LIST]), ("Then.", [POISON])],
    "the question in a message of its own": [("Here it is.", [LIST]), (HARMFUL, [])],
}
SHOWN: dict[str, list[Said]] = {
    "with another question": [(HARMLESS, [LIST])],
    "a harmful question without the list": [(HARMFUL, [POISON])],
}


def pairs(cases: dict[str, Any]) -> list[tuple[str, str]]:
    """Each case for each door; those with a server of their own get the first and the third."""
    return [
        (name, case)
        for name in DOORS
        for number, case in enumerate(cases)
        if name not in SLOW or number in {0, 2}
    ]


def paint(images: Sequence[CanonicalImage]) -> list[bool]:
    """Whether words are left in each picture."""
    colours = (BLUE, PALE)
    return [any((each.pixels == colour).all(axis=2).any() for colour in colours) for each in images]


@pytest.mark.parametrize(("name", "case"), pairs(HIDDEN))
def test_words_that_are_harmful_together_are_hidden(name: str, case: str) -> None:
    seen = DOORS[name](guard(), HIDDEN[case])
    assert paint(seen) == [False] * sum(len(pictures) for _, pictures in HIDDEN[case])


@pytest.mark.parametrize(("name", "case"), pairs(SHOWN))
def test_what_is_harmless_together_passes_as_it_is(name: str, case: str) -> None:
    wanted = [picture.sha256 for _, pictures in SHOWN[case] for picture in pictures]
    assert [each.sha256 for each in DOORS[name](guard(), SHOWN[case])] == wanted


class Counting(WordGuard):
    """As `WordGuard`; `texts` are all texts that it was asked about."""

    @property
    def texts(self) -> list[str]:
        return [text for asked in self.asked for text in asked]


@pytest.mark.parametrize("on_unsafe", ["mask", "notice"])
def test_what_is_remembered_is_not_judged_again(on_unsafe: Any) -> None:
    harmful = Counting("mushrooms", "poison")
    own = word_guard("guard", PassageJudge(harmful, 0.5), ListReader())
    runnable = ImageGuardRunnable(guard=own, on_unsafe=on_unsafe)
    history = human([(HARMLESS, [LIST])])
    (first,) = runnable.invoke(history)
    assert [each.sha256 for each in shown(first.content)] == [LIST.sha256]
    asked = len(harmful.asked)
    # Decoded and read again, in another turn with the same words, and in a longer conversation.
    again = [*human([(HARMLESS, [LIST])]), AIMessage("Soup."), HumanMessage("Thanks.")]
    assert runnable.invoke(again)[0].content == first.content
    assert len(harmful.asked) == asked
    own.sanitize_many([LIST], turns=[Turn(HARMLESS, 1)])
    own.scan_many([LIST], turns=[Turn(HARMLESS, 1)])
    assert len(harmful.asked) == asked
    # Other words ask about the same picture anew, and only about them.
    (hidden,) = runnable.invoke(human([(HARMFUL, [LIST])]))
    assert "verdicts" in str(hidden.response_metadata)
    assert (on_unsafe == "notice") == ("it was found unsafe" in str(hidden.content))
    assert all(HARMLESS not in text for asked in harmful.asked[asked:] for text in asked)
    again = runnable.invoke(human([(HARMFUL, [LIST])]))
    assert again[0].content == hidden.content
    assert any(HARMFUL in text for text in harmful.texts)


def test_a_guard_elsewhere_remembers_turns() -> None:
    own = guard()
    asked: list[Any] = []
    sanitize_many, scan_many = own.sanitize_many, own.scan_many

    def counted(call: Any) -> Any:
        def counting(sources: Any, *, turns: Any = ()) -> Any:
            asked.append([(turn.text, turn.images) for turn in turns] or len(sources))
            return call(sources, turns=turns)

        return counting

    own.sanitize_many, own.scan_many = counted(sanitize_many), counted(scan_many)  # type: ignore[method-assign]
    turns = [Turn(HARMFUL, 1), Turn("", 1), Turn("", 2)]
    images = [LIST, POISON, LIST, POISON]
    with behind_server(own) as remote:
        for _ in range(2):
            items = remote.sanitize_many(images, turns=turns)
            assert [each.verdict.decision for each in items] == ["mask", "allow", "mask", "mask"]
            verdicts = remote.scan_many(images, turns=turns)
            assert [each.decision for each in verdicts] == ["mask", "allow", "mask", "mask"]
    assert asked == [1, [(HARMFUL, 1), ("", 2)]] * 2


def test_long_turns_are_sent_apart_and_one_that_is_too_long_is_refused() -> None:
    own = guard()
    turns = [Turn("soup " * 30, 1), Turn(f"poison {'soup ' * 30}", 1)]
    with behind_server(own, max_text_characters=200) as remote:
        items = remote.sanitize_many([LIST, LIST], turns=turns)
        assert [each.verdict.decision for each in items] == ["allow", "mask"]
        with pytest.raises(ImageRejected, match="201 characters"):
            remote.scan_many([LIST], turns=[Turn("x" * 201, 1)])


def test_words_beside_a_flagged_picture_are_judged_in_a_scan() -> None:
    verdicts = guard().scan_many([LIST, striped(red=True), POISON], turns=[Turn("", 3)])
    assert [each.decision for each in verdicts] == ["mask", "mask", "mask"]
    assert [each.category for each in verdicts] == ["bad", "weapon", "bad"]


def test_a_scan_that_cannot_judge_a_turn_is_a_fault_or_counted() -> None:
    class Fails(WordGuard):
        def assess(self, texts: Sequence[str]) -> Any:
            if any("Fill" in text for text in texts):
                raise GuardError("down", stage="words")
            return super().assess(texts)

    judge = PassageJudge(Fails("x"), 0.5)
    turns = [Turn(HARMFUL, 1)]
    with pytest.raises(GuardError, match="down"):
        word_guard("guard", judge, ListReader()).scan_many([LIST], turns=turns)
    own = word_guard("guard", judge, ListReader(), on_fault="allow")
    (verdict,) = own.scan_many([LIST], turns=turns)
    assert (verdict.decision, verdict.fault) == ("allow", "words: down")
    assert own.failed_open == 1


def test_a_request_for_moderation_is_one_turn() -> None:
    parts = [{"type": "image_url", "image_url": {"url": data_url(each)}} for each in (LIST, POISON)]
    with TestClient(create_app(guard()), base_url="http://127.0.0.1:8000") as client:
        for given, flagged in ((parts, True), (parts[:1], False), (parts[1:], False)):
            answer = client.post("/v1/moderations", json={"input": given}).json()
            assert [each["flagged"] for each in answer["results"]] == [flagged]


@pytest.mark.parametrize("mode", ["off", "report"])
def test_where_no_words_are_judged_no_text_is_collected(
    mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collected(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(MessageCleaner, "_told_with", collected)
    monkeypatch.setattr(passes, "Spoken", collected)
    own = word_guard(mode, reader=ListReader()) if mode == "report" else red_guard()
    for name in ("guarded chat model", "GuardAlignGuardedLLM"):
        assert len(DOORS[name](own, SHOWN["with another question"])) == 1
