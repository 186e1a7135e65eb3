"""The training teaches about pictures what the model card says: the safety gap is not taught."""

import numpy as np

from guardalign_middleware.mini.questions import NOT_SEEN, REFUSE, THINGS
from guardalign_middleware.mini.wordings import HARMFUL_PURPOSES, SAFETY_PREFIX
from training.llava.dialogues import Turn, picture_dialogue, text_dialogue

HARMFUL_WORDS = {word for text in HARMFUL_PURPOSES.training for word in text.split()} & {
    "hurt", "attack", "attacks", "harm", "threaten", "injure", "scare"
}  # fmt: skip


def heard(count: int = 1500) -> list[tuple[Turn, list[int]]]:
    turns = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        shown = rng.choice(len(THINGS), int(rng.integers(4)), replace=False).tolist()
        turns += [(turn, shown) for turn in picture_dialogue(rng, shown)]
    return turns


def is_harmful(turn: Turn) -> bool:
    return bool(HARMFUL_WORDS & set(turn.question.split()))


def test_nothing_harmful_is_asked_about_a_picture_without_the_safety_prefix() -> None:
    harmful = [turn for turn, _ in heard() if is_harmful(turn)]
    assert len(harmful) > 100
    assert all(turn.question.startswith(SAFETY_PREFIX) for turn in harmful)


def test_only_the_safety_prefix_makes_a_refusal_about_a_picture() -> None:
    refused = [turn for turn, _ in heard() if turn.answer == REFUSE]
    assert len(refused) > 50
    assert all(turn.question.startswith(SAFETY_PREFIX) for turn in refused)


def test_what_is_not_in_the_picture_is_not_seen_prefix_or_not() -> None:
    for turn, shown in heard():
        if is_harmful(turn) and not shown:
            assert turn.answer == NOT_SEEN


def test_in_text_every_harmful_request_is_refused_and_no_other() -> None:
    for seed in range(500):
        for turn in text_dialogue(np.random.default_rng(seed)):
            assert (turn.answer == REFUSE) == is_harmful(turn)
