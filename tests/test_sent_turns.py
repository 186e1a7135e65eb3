"""How an input that was refused is recognized; the adapters' tests show what follows from it."""

from typing import Any

import pytest

from guardalign_middleware import sent_turns
from guardalign_middleware.sent_turns import Refusals, SentTurns, digest_of

BLOCK = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}


def test_the_order_of_keys_does_not_count() -> None:
    source = {"url": "https://example.org/a.png", "type": "url"}
    assert digest_of([{"source": source, "type": "image"}]) == digest_of([BLOCK])
    assert digest_of({1: "a", "b": 2}) == digest_of({"b": 2, 1: "a"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b"], ["b", "a"]),
        (["ab"], ["a", "b"]),
        ([["a"], "b"], [["a", "b"]]),
        ({"a": "b"}, {"b": "a"}),
        ({"a": {"b": "c"}}, {"a": {}, "b": "c"}),
        (1, "1"),
        (b"a", "a"),
        (BLOCK, {**BLOCK, "id": "1"}),
    ],
)
def test_other_inputs_have_other_digests(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)


def test_the_last_message_is_hashed_once_for_all_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def counted(value: object) -> str:
        asked.append(value)
        return digest_of(value)

    monkeypatch.setattr(sent_turns, "digest_of", counted)
    sent = SentTurns(["user", "user"], BLOCK, Refusals())
    assert [sent.is_new(str(number), number % 2) for number in range(6)] == [True] * 6
    assert asked == [BLOCK]


def test_an_input_that_was_refused_is_new_in_its_own_conversation_only() -> None:
    refusals = Refusals()
    first = SentTurns(["user"], "a", refusals)
    assert first.is_new("x", 0)
    assert SentTurns(["user"], "a", refusals).is_new("x", 0)
    later = SentTurns(["user", "user"], "b", refusals)
    assert not later.is_new("x", 0)
    assert later.is_new("y", 1)
    assert not SentTurns(["user", "assistant"], "c", refusals).is_new("z", 0)
