"""A conversation with the chain goes on after every refused or blocked picture."""

from __future__ import annotations

import base64
import copy
import pickle
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from guardalign_middleware import ConfigError, GuardAlign, GuardError, ImageRejected, MessageError
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake.messages import parse_messages, read_conversation
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.replies import GuardedReply
from guardalign_middleware.sent_turns import Refusals, SentTurns
from guardalign_middleware.testing import (
    EchoRunner,
    all_red,
    picture,
    png,
    red_chain,
    red_config,
    red_guard,
)
from guardalign_middleware.testing.refused import refused_files
from guardalign_middleware.types import ImagePart, Message

REPLY = red_config().blocked_reply
FILES = refused_files()


def base64_part(data: bytes, mime: str) -> dict[str, Any]:
    return {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": mime}


# What ordinary users send, and what the notice says about it.
CAUSES: dict[str, tuple[Any, str]] = {
    "animated GIF": (
        {"type": "image", "image": FILES["animated GIF"][0]},
        "[image not shown: it is animated",
    ),
    "broken upload": (base64_part(*FILES["broken upload"]), "the file is damaged"),
    "JPEG called PNG": (base64_part(*FILES["JPEG called PNG"]), "image not shown"),
    "link": (
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        "it is behind a link",
    ),
    "PDF": (
        {
            "type": "file",
            "file": {
                "filename": "a.pdf",
                "file_data": "data:application/pdf;base64,"
                + base64.b64encode(FILES["PDF"][0]).decode(),
            },
        },
        "[file a.pdf not shown: it is a PDF",
    ),
    # Of the same kind.
    "no bytes": ({"type": "image"}, "[image not shown"),
    "film": ({"type": "video", "base64": "AAAA"}, "[video not shown"),
    "path": ({"type": "image", "path": "/etc/hosts"}, "it is a local file"),
    "unknown block": ({"type": "sketch", "lines": png(picture())}, "[part not shown"),
    "no part": (5, "[part not shown"),
    "typed part": (
        ImagePart(
            red_guard(red_config(intake=IntakePolicy(max_aspect=9e9))).load(
                Image.new("RGB", (2000, 1))
            )
        ),
        "it is too long and narrow",
    ),
}
REFUSED = [pytest.param(*case, id=name) for name, case in CAUSES.items()]
BLOCKED = {"type": "image", "image": png(all_red())}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": [*parts]}


ANSWER = {"role": "assistant", "content": "I cannot."}
NOW = user("and now?")
Ask = Callable[[GuardAlign, Any], Awaitable[GuardedReply]]


async def streamed(chain: GuardAlign, messages: Any) -> GuardedReply:
    chunks = [chunk async for chunk in chain.astream(messages)]
    assert chunks[-1].reply is not None
    assert "".join(chunk.text for chunk in chunks) == chunks[-1].reply.text
    return chunks[-1].reply


async def invoked(chain: GuardAlign, messages: Any) -> GuardedReply:
    return chain.invoke(messages)


async def streamed_in_place(chain: GuardAlign, messages: Any) -> GuardedReply:
    return chain.stream(messages).finish()


async def in_batch(chain: GuardAlign, messages: Any) -> GuardedReply:
    first, second = chain.batch([messages, "hello"])
    assert second.text == "echo: hello"
    return first


async def awaited(chain: GuardAlign, messages: Any) -> GuardedReply:
    return await chain.ainvoke(messages)


async def awaited_in_batch(chain: GuardAlign, messages: Any) -> GuardedReply:
    return (await chain.abatch(["hello", messages]))[1]


WAYS = pytest.mark.parametrize(
    "way", [invoked, streamed_in_place, in_batch, awaited, streamed, awaited_in_batch]
)


def older(part: Any) -> dict[str, list[Any]]:
    """Conversations in which the part is not what the user has just sent."""
    result = {"type": "tool_result", "tool_use_id": "1", "content": ["It is:", part]}
    typed = isinstance(part, ImagePart)
    return {
        "older turn": [user("what is it?", part), ANSWER, NOW],
        "answer": [NOW, {"role": "assistant", "content": ["See:", part]}, NOW],
        "tool message": [NOW, {"role": "tool", "content": [part]}],
        "tool message before a question": [NOW, {"role": "tool", "content": [part]}, NOW],
        **({} if typed else {"tool result of the user": [NOW, ANSWER, user(result)]}),
        **({"typed": [Message("user", (part,)), ANSWER, NOW]} if typed else {}),
    }


class TestRefused:
    @WAYS
    @pytest.mark.parametrize(("part", "cause"), REFUSED)
    async def test_older_turns_and_tools_get_a_notice(
        self, way: Ask, part: Any, cause: str
    ) -> None:
        for name, conversation in older(part).items():
            runner = EchoRunner()
            reply = await way(red_chain(runner=runner), conversation)
            assert reply.finish_reason == "stop", name
            assert cause in str(runner.calls), name
            (refused,) = reply.refused
            assert refused.place.startswith("messages["), name
            assert reply.to_json()["refused"] == [
                {
                    "decision": "block",
                    "action": "refused",
                    "reason": refused.reason,
                    "place": refused.place,
                }
            ]

    @WAYS
    @pytest.mark.parametrize(("part", "cause"), REFUSED)
    async def test_what_was_just_sent_raises_every_time(
        self, way: Ask, part: Any, cause: str
    ) -> None:
        runner = EchoRunner()
        chain = red_chain(runner=runner)
        for _ in range(2):
            with pytest.raises((ImageRejected, MessageError), match=r"messages\[0\]\.content\[1\]"):
                await way(chain, [user("what is it?", part)])
        assert runner.calls == []

    @WAYS
    @pytest.mark.parametrize(("part", "cause"), REFUSED)
    async def test_notice_goes_on_at_once(self, way: Ask, part: Any, cause: str) -> None:
        runner = EchoRunner()
        chain = GuardAlign(red_guard(), runner, on_refused="notice")
        reply = await way(chain, [user("what is it?", part)])
        assert reply.finish_reason == "stop"
        assert cause in str(runner.calls)
        assert len(reply.refused) == 1

    @pytest.mark.parametrize(("part", "cause"), REFUSED)
    def test_a_question_without_an_answer_is_not_met_again(self, part: Any, cause: str) -> None:
        """An agent's thread keeps the message that raised; the next one follows it directly."""
        runner = EchoRunner()
        chain = red_chain(runner=runner)
        sent = [user("what is it?", part)]
        for _ in range(2):
            with pytest.raises((ImageRejected, MessageError)):
                chain.invoke(sent)
        assert chain.invoke([*sent, NOW]).finish_reason == "stop"
        assert cause in str(runner.calls)
        # The user was never told here.
        with pytest.raises((ImageRejected, MessageError)):
            red_chain().invoke([*sent, NOW])

    def test_a_system_message_is_the_users(self) -> None:
        part, _ = CAUSES["link"]
        with pytest.raises(ImageRejected):
            red_chain().invoke([NOW, ANSWER, {"role": "system", "content": [part]}, NOW])

    def test_the_rest_of_a_turn_stays(self) -> None:
        runner = EchoRunner()
        part, _ = CAUSES["broken upload"]
        good = {"type": "image", "image": png(picture(red=True))}
        reply = red_chain(runner=runner).invoke([user("one", part, good, "two"), ANSWER, NOW])
        one, notice, cleaned, two = runner.calls[0].messages[0].parts
        assert (one.text, two.text) == ("one", "two")  # type: ignore[union-attr]
        assert "damaged" in notice.text  # type: ignore[union-attr]
        assert isinstance(cleaned, ImagePart)
        assert [verdict.decision for verdict in reply.verdicts] == ["mask"]

    def test_the_errors_of_a_program_raise_in_every_turn(self) -> None:
        chain = GuardAlign(red_guard(), EchoRunner(), on_refused="notice")
        for wrong in (
            {"role": "narrator", "content": "x"},
            {"role": "user"},
            {"role": "user", "content": 5},
            {"role": "user", "content": ""},
            "x",
        ):
            with pytest.raises(MessageError):
                chain.invoke([wrong, ANSWER, NOW])

    def test_a_fault_is_no_refusal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chain = GuardAlign(red_guard(), EchoRunner(), on_refused="notice", on_blocked="notice")

        def broken(_: Any, **options: Any) -> Any:
            raise GuardError("broken", stage="detection")

        monkeypatch.setattr(chain.guard, "sanitize_many", broken)
        with pytest.raises(GuardError):
            chain.invoke([user({"type": "image", "image": png(picture())}), ANSWER, NOW])


class TestBlocked:
    @WAYS
    async def test_older_turns_and_tools_get_a_notice(self, way: Ask) -> None:
        for name, conversation in older(BLOCKED).items():
            runner = EchoRunner()
            reply = await way(red_chain(runner=runner), conversation)
            assert reply.finish_reason == "stop", name
            assert UNSAFE in str(runner.calls), name
            assert [verdict.decision for verdict in reply.verdicts] == ["block"], name
            assert not any(message.images for call in runner.calls for message in call.messages), (
                name
            )

    @WAYS
    async def test_what_was_just_sent_is_answered_without_the_model(self, way: Ask) -> None:
        runner = EchoRunner()
        chain = red_chain(runner=runner)
        for _ in range(2):
            reply = await way(chain, [user("what is it?", BLOCKED)])
            assert (reply.text, reply.finish_reason) == (REPLY, "blocked")
        assert UNSAFE not in str(runner.calls)

    @WAYS
    async def test_notice_asks_the_model(self, way: Ask) -> None:
        runner = EchoRunner()
        chain = GuardAlign(red_guard(), runner, on_blocked="notice")
        reply = await way(chain, [user("what is it?", BLOCKED)])
        assert reply.finish_reason == "stop"
        assert UNSAFE in str(runner.calls)

    def test_a_question_without_an_answer_is_not_met_again(self) -> None:
        chain = red_chain()
        sent = [user("what is it?", BLOCKED)]
        assert chain.invoke(sent).finish_reason == "blocked"
        assert chain.invoke([*sent, NOW]).finish_reason == "stop"
        assert red_chain().invoke([*sent, NOW]).finish_reason == "blocked"

    def test_an_old_one_does_not_hide_a_new_one(self) -> None:
        conversation = [user("what is it?", BLOCKED), ANSWER, user("and this?", BLOCKED)]
        assert red_chain().invoke(conversation).text == REPLY


class TestOptions:
    @pytest.mark.parametrize("option", ["on_refused", "on_blocked"])
    def test_a_wrong_value_is_an_error_before_anything_is_loaded(self, option: str) -> None:
        wrong: Any = {option: "ignore"}
        for make in (
            lambda: GuardAlign(red_guard(), EchoRunner(), **wrong),
            lambda: GuardAlign.from_config(red_config(), **wrong),
            lambda: red_chain().with_options(
                **{"on_refused": "raise", "on_blocked": "reply", **wrong}
            ),
        ):
            with pytest.raises(ConfigError, match=option):
                make()

    def test_other_options_share_the_models_and_change_nothing_here(self) -> None:
        chain = red_chain()
        patient = chain.with_options(on_refused="notice", on_blocked="notice")
        assert (patient.guard, patient.runner) == (chain.guard, chain.runner)
        assert patient.invoke([user(CAUSES["link"][0])]).finish_reason == "stop"
        assert (chain.on_refused, chain.on_blocked) == ("raise", "reply")
        with pytest.raises(ImageRejected):
            chain.invoke([user(CAUSES["PDF"][0])])

    def test_the_reader_alone_raises_in_every_turn(self) -> None:
        conversation = [user(CAUSES["link"][0]), ANSWER, NOW]
        with pytest.raises(ImageRejected):
            parse_messages(conversation)
        parsed = read_conversation(conversation, on_refused="raise")
        assert "behind a link" in parsed.messages[0].text


class TestSentTurns:
    def test_the_memory_is_bounded_and_not_pickled(self) -> None:
        refusals = Refusals()
        for number in range(5000):
            refusals.told(str(number), "a")
        assert refusals.told("0", "b") == "b"
        assert refusals.told("4999", "b") == "a"
        assert copy.deepcopy(refusals) is refusals
        assert pickle.loads(pickle.dumps(refusals)).told("4999", "b") == "b"

    @pytest.mark.parametrize(
        ("roles", "first"),
        [
            ([], 0),
            (["user"], 0),
            (["system", "user"], 0),
            (["user", "assistant"], 2),
            (["user", "assistant", "tool"], 3),
            (["user", "assistant", "system", "user"], 2),
        ],
    )
    def test_the_users_and_the_systems_turns_at_the_end(self, roles: list[str], first: int) -> None:
        sent = SentTurns(roles, "", Refusals())
        assert [sent.is_sent(turn) for turn in range(len(roles))] == [
            turn >= first for turn in range(len(roles))
        ]
        assert not sent.is_sent(None)


@pytest.mark.slow
def test_the_page_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[1] / "docs" / "failures.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(code, {})
    (shown,) = re.findall(r"^# (.*)", code, flags=re.MULTILINE)
    assert capsys.readouterr().out.strip() == shown
