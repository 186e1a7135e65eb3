"""A prompt is refused before the scan only if the model cannot read it in any case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardalign_middleware.errors import ContextOverflow, MessageError, OutOfMemory
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.prompt.length import LONG, PromptLength
from guardalign_middleware.types import ImagePart, Message, TextPart
from tests.support.messages import picture, user
from tests.support.tiny.models import FAMILIES


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def runner(request: pytest.FixtureRequest, model_directory: Callable[[str], Path]) -> Any:
    return CalibratedRunner.from_pretrained(str(model_directory(request.param)), device="cpu")


def fits(length: PromptLength, texts: list[str], pictures: int) -> bool:
    try:
        length.check(texts, pictures, 0)
    except ContextOverflow:
        return False
    return True


def test_no_prompt_that_fits_is_refused(runner: Any) -> None:
    rows: list[Message] = [
        user("x"),
        user("What is it? " * 40),
        user("\n ".join("犬🐕‍🦺<image></s>" for _ in range(50))),
        user("aaaa" * 2000),
        user(*(picture(index) for index in range(2)), "and " * 30),
        Message("user", (ImagePart(picture(3)), TextPart("a"), TextPart(" b" * 300))),
    ]
    for message in rows:
        try:
            tokens = runner.count_tokens([message], prefix=False)
        except MessageError:
            continue  # not every model takes two pictures
        texts = [part.text for part in message.parts if isinstance(part, TextPart)]
        exact = PromptLength(
            runner._prompts.copied_tokenizer, runner._requests.length._count, tokens
        )
        assert fits(exact, texts, len(message.images))


def test_a_lack_of_memory_is_no_length_of_a_picture() -> None:
    faults: list[Exception] = [MemoryError(), OSError("no such processor")]

    def count(size: Any) -> int:
        raise faults.pop(0)

    length = PromptLength(lambda: None, count, 1)
    with pytest.raises(OutOfMemory):
        length.check([], 1, 0)
    # Tried again, as it was not remembered; a processor that takes no such shapes counts 1.
    length.check([], 1, 0)
    assert faults == []


def test_pictures_of_a_model_that_takes_one_size_count_exactly(runner: Any) -> None:
    length = PromptLength(runner._prompts.copied_tokenizer, runner._requests.length._count, 10**6)
    least = length._least_of_one
    one = runner._requests.length._count((90, 70)) - runner._requests.length._count(None)
    assert 1 <= least <= one
    if runner.name.endswith("llava"):
        assert least == one


class Words:
    """A tokenizer of words, which notes how much it had to read."""

    def __init__(self) -> None:
        self.read = 0

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        self.read += len(text)
        return [0] * len(text.split())


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(st.text(alphabet="ab \n", max_size=400), max_size=4), limit=st.integers(1, 90)
)
def test_only_more_than_the_limit_is_refused(texts: list[str], limit: int) -> None:
    count = sum(len(text.split()) for text in texts)
    length = PromptLength(Words, lambda size: 7 if size else 2, limit)
    if not fits(length, texts, 0):
        assert count > limit
    assert fits(length, [], limit // 5)
    assert not fits(length, [], limit // 5 + 1)


def test_a_text_without_end_is_not_read_to_its_end() -> None:
    words = Words()
    length = PromptLength(lambda: words, lambda _: 1, 512)
    with pytest.raises(ContextOverflow, match="at least") as refused:
        length.check(["word " * 2_000_000], 0, 0)
    assert refused.value.limit == 512
    assert words.read < 20_000


def test_a_long_text_keeps_no_other_call_from_the_tokenizer() -> None:
    made: list[Words] = []

    def copied() -> Words:
        made.append(Words())
        return made[-1]

    length = PromptLength(copied, lambda _: 1, None)
    assert len(length.token_ids("a b")) == 2
    # As if another call was tokenizing at this moment.
    with length._lock:
        assert len(length.token_ids("a " * LONG)) == LONG
    assert [words.read for words in made] == [3, 2 * LONG]


def test_a_model_without_a_limit_reads_everything() -> None:
    PromptLength(Words, lambda _: 1, None).check(["word " * 100_000], 10**6, 10**6)


def test_only_a_long_text_is_counted_before_it_is_tokenized(
    monkeypatch: pytest.MonkeyPatch, runner: Any
) -> None:
    limited = PromptLength(runner._prompts.copied_tokenizer, runner._requests.length._count, 512)
    monkeypatch.setattr(runner._requests, "length", limited)
    short = "word " * 1000
    exact = runner.count_tokens([user(short)], prefix=False)
    assert exact >= len(runner.token_ids(short)) > 512

    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("the prompt was encoded")

    monkeypatch.setattr(runner._prompts, "encode", fail)
    assert runner.count_tokens([user(short * 100)], prefix=False) > 512
    with pytest.raises(ContextOverflow):
        runner.generate([user(short * 100)])
