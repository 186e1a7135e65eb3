"""Sampling, stopping and settled text, one row at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation.decoding import (
    NextTokens,
    RowWatch,
    TextEmitter,
    final_text,
    find_stop,
)


def spell(ids: Sequence[int]) -> str:
    """Bytes as tokens: half a character decodes to U+FFFD, as in a byte-level tokenizer."""
    return bytes(ids).decode("utf-8", errors="replace")


NO_IDS = torch.zeros(1, 0, dtype=torch.int64)


def test_nan_is_a_fault() -> None:
    with pytest.raises(GuardError, match="NaN") as caught:
        NextTokens(0.0, [0])(NO_IDS, torch.tensor([[0.0, float("nan")]]))
    assert caught.value.stage == "generation"


def test_masked_scores_are_no_fault() -> None:
    scores = torch.tensor([[0.0, float("-inf")]])
    assert torch.equal(NextTokens(0.0, [0])(NO_IDS, scores), scores)


def test_sampling_follows_the_softmax() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0, float("-inf")]])
    sampler = NextTokens(2.0, [7])
    draws = torch.stack([sampler(NO_IDS, scores).argmax() for _ in range(4000)])
    shares = torch.bincount(draws, minlength=4) / 4000
    torch.testing.assert_close(shares, (scores[0] / 2).softmax(0), rtol=0, atol=0.03)
    assert shares[3] == 0


def test_a_row_draws_the_same_whatever_its_neighbours() -> None:
    scores = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    together, alone = NextTokens(1.0, [4, 5, 6]), NextTokens(1.0, [5])
    for _ in range(5):
        assert torch.equal(together(NO_IDS, scores)[1], alone(NO_IDS, scores[1:2])[0])


def test_sampling_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    NextTokens(1.0, [0])(NO_IDS, torch.zeros(1, 9))
    assert torch.equal(before, torch.get_rng_state())


def watch(stop: tuple[str, ...] = (), cancel: threading.Event | None = None) -> RowWatch:
    return RowWatch(rows=2, prompt_length=1, eos=[0], decode=spell, stop=stop, cancel=cancel)


def test_outcomes() -> None:
    observer = watch(("END",))
    grown = torch.tensor([[9, *b"a END"], [9, *b"bcdef"]])
    assert observer(grown, NO_IDS).tolist() == [True, False]
    assert observer.outcome(0, [*b"a END", 0, 0]) == ([*b"a END"], "stop")
    assert observer.outcome(1, [*b"bc", 0, 0]) == ([*b"bc", 0], "stop")
    assert observer.outcome(1, [*b"bcdef"]) == ([*b"bcdef"], "length")


def test_cancelling_ends_every_row() -> None:
    event = threading.Event()
    observer = watch(cancel=event)
    ids = torch.tensor([[9, 65], [9, 66]])
    assert not observer(ids, NO_IDS).any()
    event.set()
    assert observer(ids, NO_IDS).all()
    assert observer.outcome(0, [65])[1] == "cancelled"
    assert observer.outcome(0, [65, 0])[1] == "stop"


ANSWERS = st.text(alphabet="ab \n.STOP犬猫é👍🏽", max_size=40)


@given(ANSWERS, st.lists(st.sampled_from(["STOP", "\n\n", "b", "犬猫"]), max_size=2))
@example("x犬猫", ["犬猫"])
@example("猫é👍🏽", [])
def test_pieces_join_to_the_final_text(text: str, stop: list[str]) -> None:
    ids = list(text.encode())
    pieces: list[str] = []
    emitter = TextEmitter(pieces.append, spell, stop)
    emitter.put(torch.tensor([[1, 2, 3]]))
    fed: list[int] = []
    for token in ids:
        fed.append(token)
        emitter.put(torch.tensor([token]))
        if find_stop(spell(fed), stop) >= 0:
            break
    final = final_text(spell(fed), stop)
    emitter.finish(final)
    assert "".join(pieces) == final
    assert all(pieces)


def test_words_arrive_before_the_end() -> None:
    pieces: list[str] = []
    emitter = TextEmitter(pieces.append, spell, ())
    emitter.put(torch.tensor([[1]]))
    for token in b"one two thr":
        emitter.put(torch.tensor([token]))
    assert "".join(pieces) == "one two"


def test_text_that_changes_after_it_was_sent_is_a_fault() -> None:
    emitter = TextEmitter(lambda _: None, spell, ())
    emitter.put(torch.tensor([[1]]))
    for token in b"one two":
        emitter.put(torch.tensor([token]))
    with pytest.raises(GuardError, match="changed"):
        emitter.finish("three")


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        (" hi ", (), "hi"),
        ("a STOP b", ("STOP",), "a"),
        ("a b STOP", ("STOP", "b"), "a"),
        ("STOP", ("STOP",), ""),
    ],
)
def test_final_text(text: str, stop: tuple[str, ...], expected: str) -> None:
    assert final_text(text, stop) == expected
