"""Sampling, stopping and settled text, one row at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation.engine import decoding
from guardalign_middleware.generation.engine.decoding import (
    BatchWatch,
    NextTokens,
    RowDecoder,
    TokenText,
    final_text,
)


def spell(ids: Sequence[int]) -> str:
    """Bytes as tokens: half a character decodes to U+FFFD, as in a byte-level tokenizer."""
    return bytes(ids).decode("utf-8", errors="replace")


NO_IDS = torch.zeros(1, 0, dtype=torch.int64)


def test_nan_is_a_fault() -> None:
    with pytest.raises(GuardError, match="NaN") as caught:
        NextTokens([0.0], [0])(NO_IDS, torch.tensor([[0.0, float("nan")]]))
    assert caught.value.stage == "generation"


def test_masked_scores_are_no_fault() -> None:
    scores = torch.tensor([[0.0, float("-inf")]])
    assert torch.equal(NextTokens([0.0], [0])(NO_IDS, scores), scores)


def test_sampling_follows_the_softmax() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0, float("-inf")]])
    sampler = NextTokens([2.0], [7])
    draws = torch.stack([sampler(NO_IDS, scores).argmax() for _ in range(4000)])
    shares = torch.bincount(draws, minlength=4) / 4000
    torch.testing.assert_close(shares, (scores[0] / 2).softmax(0), rtol=0, atol=0.03)
    assert shares[3] == 0


def test_a_row_draws_the_same_whatever_its_neighbours() -> None:
    scores = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    together, alone = NextTokens([1.0, 0.8, 0.0], [4, 5, 6]), NextTokens([0.8], [5])
    for _ in range(5):
        drawn = together(NO_IDS, scores)
        assert torch.equal(drawn[1], alone(NO_IDS, scores[1:2])[0])
        # A greedy row is left alone.
        assert torch.equal(drawn[2], scores[2])


def test_chance_is_made_on_the_device_of_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[torch.device, torch.device]] = []
    rand = torch.rand

    def spy(size: int, *, generator: torch.Generator, device: torch.device) -> Tensor:
        made.append((generator.device, torch.device(device)))
        return rand(size, generator=generator, device=device)

    monkeypatch.setattr(torch, "rand", spy)
    scores = torch.zeros(2, 9)
    NextTokens([1.0, 1.0], [0, 2**64 - 1])(torch.zeros(2, 1, dtype=torch.int64), scores)
    assert made == [(scores.device, scores.device)] * 2


@pytest.mark.parametrize("temperature", [1e-5, 1e3])
def test_the_ends_of_the_temperature_s_range_give_numbers(temperature: float) -> None:
    scores = torch.tensor([[1e4, -1e4, float("-inf"), 0.0]])
    noisy = NextTokens([temperature], [3])(torch.zeros(1, 1, dtype=torch.int64), scores)
    assert not bool(noisy.isnan().any())
    assert noisy[0, 2] == float("-inf")


def test_sampling_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    NextTokens([1.0], [0])(NO_IDS, torch.zeros(1, 9))
    assert torch.equal(before, torch.get_rng_state())


def decoder(**changes: Any) -> RowDecoder:
    options: dict[str, Any] = {"eos": [0], "stop": (), "max_new_tokens": 99}
    return RowDecoder(spell, **{**options, **changes})


def feed(row: RowDecoder, text: bytes) -> int:
    """Put tokens until the row ends; how many it took."""
    for count, token in enumerate(text, start=1):
        if row.put(token):
            return count
    return len(text)


@pytest.mark.parametrize(
    ("text", "changes", "taken", "reason", "answer"),
    [
        (b"a END b", {"stop": ("END",)}, 5, "stop", "a"),
        (b"bc\0d", {}, 3, "stop", "bc\0"),
        (b"bcdef", {"max_new_tokens": 3}, 3, "length", "bcd"),
        (b"bcdef", {"cancelled": lambda: True}, 1, "cancelled", "b"),
        (b"\0bcd", {"cancelled": lambda: True}, 1, "stop", "\0"),
        (b"bcdef", {}, 5, None, "bcdef"),
    ],
)
def test_outcomes(
    text: bytes, changes: dict[str, Any], taken: int, reason: str | None, answer: str
) -> None:
    row = decoder(**changes)
    assert feed(row, text) == taken
    assert row.reason == reason
    assert row.finish() == answer


def test_a_row_made_again_sends_nothing_twice() -> None:
    pieces: list[str] = []
    row = decoder(emit=pieces.append)
    feed(row, b"one two thr")
    assert "".join(pieces) == "one two"
    row.restart()
    feed(row, b"one two three four")
    assert row.finish() == "one two three four"
    assert "".join(pieces) == "one two three four"


def test_a_batch_ends_row_by_row() -> None:
    told: list[Any] = []
    rows = [decoder(max_new_tokens=limit) for limit in (2, 1)]
    observer = BatchWatch(rows, started=lambda: told.append("started"), ended=told.append)
    grown = torch.tensor([[9, 65], [9, 66]])
    assert observer(grown, NO_IDS).tolist() == [False, True]
    assert told == ["started", 1]
    grown = torch.tensor([[9, 65, 67], [9, 66, 1]])
    assert observer(grown, NO_IDS).tolist() == [True, True]
    assert told == ["started", 1, 0]
    # What is padded behind an ended row is not its text.
    assert [row.ids for row in rows] == [[65, 67], [66]]


ANSWERS = st.text(alphabet="ab \n.STOP犬猫é👍🏽", max_size=40)


@given(ANSWERS, st.lists(st.sampled_from(["STOP", "\n\n", "b", "犬猫"]), max_size=2))
@example("x犬猫", ["犬猫"])
@example("猫é👍🏽", [])
def test_pieces_join_to_the_final_text(text: str, stop: list[str]) -> None:
    pieces: list[str] = []
    row = decoder(emit=pieces.append, stop=stop)
    feed(row, text.encode())
    assert row.finish() == final_text(spell(row.ids), stop) == "".join(pieces)
    assert row.finish() == final_text(text, stop)
    assert all(pieces)


LONG_STOP = "a b a b STOP, longer than most of an answer"


@given(ANSWERS, st.one_of(st.just(LONG_STOP), st.text("ab \nST", min_size=1, max_size=30)))
@example(LONG_STOP, LONG_STOP)
@example(f"{LONG_STOP} and more", LONG_STOP)
@example(LONG_STOP[:20], LONG_STOP)
def test_no_part_of_a_long_stop_string_is_sent(text: str, stop: str) -> None:
    pieces: list[str] = []
    row = decoder(emit=pieces.append, stop=[stop])
    feed(row, text.encode())
    assert row.finish() == final_text(text, [stop]) == "".join(pieces)


def byte_fallback() -> TokenText:
    """A tokenizer like Llama's: a token for each byte, and words."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    vocabulary |= {"<unk>": 256, "▁hi": 257}
    model = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    model.decoder = decoders.Sequence(steps)
    return TokenText(PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>"))


ROWS = st.lists(st.sampled_from([*"👍犬é".encode(), 257, 257]), max_size=24)


@given(ROWS)
@example([*"👍👍".encode()[:6]])
@example([257, *"犬👍".encode(), 257, *"犬".encode(), 0x80])
def test_a_character_cut_in_a_row_of_bytes_takes_back_nothing_sent(ids: list[int]) -> None:
    text = byte_fallback()
    assert text.single_bytes == frozenset(range(256))
    pieces: list[str] = []
    row = RowDecoder(
        text,
        eos=[],
        stop=(),
        max_new_tokens=99,
        emit=pieces.append,
        single_bytes=text.single_bytes,
    )
    for token in ids:
        row.put(token)
    assert row.finish() == "".join(pieces) == text(ids).strip()


def test_words_arrive_before_the_end() -> None:
    pieces: list[str] = []
    feed(decoder(emit=pieces.append), b"one two thr")
    assert "".join(pieces) == "one two"


def test_text_that_changes_after_it_was_sent_is_a_fault() -> None:
    words = {(): "", (1,): "one two "}

    def changing(ids: Sequence[int]) -> str:
        return words[tuple(ids)]

    row = RowDecoder(changing, eos=[], stop=(), max_new_tokens=9, emit=lambda _: None)
    row.put(1)
    words[1,] = "three"
    with pytest.raises(GuardError, match="changed"):
        row.finish()


def test_a_long_answer_is_not_decoded_again_and_again() -> None:
    longest = 0

    def counting(ids: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return spell(ids)

    pieces: list[str] = []
    row = RowDecoder(counting, eos=[], stop=["!"], max_new_tokens=999, emit=pieces.append)
    feed(row, "wörter und 猫 ".encode() * 20)
    assert longest < 10
    assert row.finish() == "".join(pieces) == ("wörter und 猫 " * 20).strip()


@pytest.mark.parametrize("text", [b"=" * 600 + b" then words", b"words and words " * 40])
def test_a_long_answer_is_not_searched_again_and_again(
    text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = 0

    class Counting:
        def finditer(self, text: str, start: int, end: int) -> Iterator[re.Match[str]]:
            nonlocal searched
            searched += max(0, end - start)
            return word_end.finditer(text, start, end)

    word_end = decoding._WORD_END
    monkeypatch.setattr(decoding, "_WORD_END", Counting())
    pieces: list[str] = []
    row = decoder(emit=pieces.append, stop=["a stop"], max_new_tokens=9999)
    feed(row, text)
    assert row.finish() == "".join(pieces) == text.decode().strip()
    assert searched <= 2 * len(text)


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
