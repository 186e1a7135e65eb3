"""The study's models start as the miniature, and learn prefixes with one view per picture."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.mini.questions import REFUSE, THINGS
from guardalign_middleware.mini.wordings import HARMFUL_PURPOSES, SAFETY_PREFIX
from training.llava.dialogues import Turn, picture_dialogue
from training.llava.language import IGNORED, TOKENS
from training.llava.package import Form, tokenizer, untrained
from training.llava.views import MOST, cut
from training.study.data import FORM, VIEWS, Curriculum
from training.study.growth import grow, places
from training.study.prefixes import (
    MANY_VIEWS,
    NEUTRAL_PREFIXES,
    ONE_VIEW,
    REVERSE_PREFIX,
    SAFE_PREFIX,
)

HARMFUL_WORDS = {word for text in HARMFUL_PURPOSES.training for word in text.split()} & {
    "hurt", "attack", "harm", "threaten", "injure", "scare"
}  # fmt: skip


def heard(count: int = 1500) -> list[Turn]:
    turns = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        shown = rng.choice(len(THINGS), int(rng.integers(4)), replace=False).tolist()
        turns += picture_dialogue(rng, shown, lessons=ONE_VIEW)
    return turns


def decoded(curriculum: Curriculum, index: int) -> list[str]:
    names = {number: word for word, number in tokenizer(FORM).get_vocab().items()}
    return [" ".join(names[number] for number in row) for row in curriculum[index].ids.tolist()]


def test_a_grown_model_computes_what_the_shallow_one_computes() -> None:
    torch.manual_seed(0)
    base = untrained().eval()
    deep = grow(base.state_dict(), FORM).eval()
    known = base.lm_head.weight.shape[0]
    ids = torch.randint(8, known, (2, 30))
    with torch.no_grad():
        expected, found = base(input_ids=ids).logits, deep(input_ids=ids).logits
    assert deep.config.text_config.num_hidden_layers == FORM.layers > 6
    assert torch.equal(found[..., :known], expected)
    assert found.shape[-1] == known + len(FORM.more_words)


@given(st.integers(2, 12), st.integers(0, 12))
def test_layers_keep_their_order_and_their_ends(shallow: int, more: int) -> None:
    found = places(shallow, shallow + more)
    assert found == sorted(set(found))
    assert (found[0], found[-1], len(found)) == (0, shallow + more - 1, shallow)


def test_a_model_does_not_grow_smaller() -> None:
    with pytest.raises(ValueError, match="shallow"):
        grow(untrained().state_dict(), Form(layers=4))


def test_every_word_of_the_safe_prefix_also_occurs_in_another_prefix() -> None:
    others = " ".join((REVERSE_PREFIX, *NEUTRAL_PREFIXES)).split()
    assert set(SAFE_PREFIX.split()) <= set(others)
    assert SAFE_PREFIX not in (REVERSE_PREFIX, *NEUTRAL_PREFIXES)


def test_only_a_safe_prefix_makes_a_refusal_and_nothing_harmful_is_asked() -> None:
    turns = heard()
    refused = [turn for turn in turns if turn.answer == REFUSE]
    assert len(refused) > 100
    assert all(turn.question.startswith(SAFE_PREFIX) for turn in refused)
    assert not any(HARMFUL_WORDS & set(turn.question.split()) for turn in turns)
    others = (REVERSE_PREFIX, *NEUTRAL_PREFIXES)
    assert sum(turn.question.startswith(others) for turn in turns) > 300
    assert not any(turn.question.startswith(SAFETY_PREFIX) for turn in turns)


def test_prefixes_never_occur_with_many_views() -> None:
    curriculum = Curriculum(2 * len(VIEWS), seed=5)
    assert set(VIEWS) == {1, 4, MOST}
    for index, views in enumerate(VIEWS):
        rows = decoded(curriculum, index)
        prefixed = [row for row in rows if "always" in row or "never" in row]
        pictures = [row for row in rows if "<image>" in row]
        assert {row.split().count("<image>") for row in pictures} == {views * TOKENS}
        assert (len(prefixed) > 3) == (views == 1)
        if views > 1:
            assert len(pictures) == len(rows)
            assert not any("i cannot help" in row for row in rows)


def test_every_view_has_its_pixels() -> None:
    curriculum = Curriculum(len(VIEWS), seed=1)
    slot = tokenizer(FORM).get_vocab()["<image>"]
    for index in range(len(VIEWS)):
        drawn = curriculum[index]
        assert int((drawn.ids == slot).sum()) == TOKENS * len(drawn.pixels)
        assert drawn.ids.shape[1] <= FORM.context
        assert bool((drawn.labels != IGNORED).any())


def test_equal_seeds_draw_equal_batches_whatever_came_before() -> None:
    first, second = Curriculum(8, seed=3), Curriculum(8, seed=3)
    first[2]
    assert torch.equal(first[3].ids, second[3].ids)
    assert not torch.equal(first[3].ids, Curriculum(8, seed=4)[3].ids)


def test_every_word_of_the_prefixes_is_known() -> None:
    tokens = tokenizer(FORM)
    for text in (SAFE_PREFIX, REVERSE_PREFIX, *NEUTRAL_PREFIXES):
        assert tokens.unk_token_id not in tokens(text)["input_ids"]


def test_many_view_lessons_ask_nothing_doubtful() -> None:
    assert MANY_VIEWS.doubtful == MANY_VIEWS.harmful == ONE_VIEW.harmful == 0.0


@given(st.integers(1, MOST), st.integers(8, 90), st.integers(8, 90))
def test_views_begin_with_the_picture_and_keep_its_size(count: int, high: int, wide: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (high, wide, 3), dtype=np.uint8)
    found = cut(pixels, count)
    assert len(found) == count
    assert np.array_equal(found[0], pixels)
    assert {part.shape for part in found} == {pixels.shape}


def test_no_two_views_are_equal_and_together_they_reach_every_corner() -> None:
    for count in (4, MOST):
        marked = np.zeros((84, 84, 3), dtype=np.uint8)
        marked[0, 0], marked[0, -1], marked[-1, 0] = 250, 200, 150
        pixels = np.random.default_rng(0).integers(0, 256, (84, 84, 3), dtype=np.uint8)
        found = cut(pixels, count)
        assert len({part.tobytes() for part in found}) == count
        assert any(part[0, 0].any() for part in cut(marked, count)[1:])


@pytest.mark.parametrize("count", [0, MOST + 1])
def test_a_number_of_views_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="count"):
        cut(np.zeros((4, 4, 3), dtype=np.uint8), count)
