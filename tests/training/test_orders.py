from __future__ import annotations

import random
import re

import numpy as np

from training.words.fitting import scores, train_head
from training.words.look_alikes import look_alikes
from training.words.orders import BATCHES, wordings
from training.words.readmes import paragraphs
from training.words.texts import order_texts


def test_the_corpus_has_each_wording_once_and_both_sides_in_each_batch() -> None:
    known = wordings()
    assert len({one.text.casefold() for one in known}) == len(known)
    for batch in BATCHES:
        sides = [one.order for one in known if one.batch == batch]
        assert 70 <= sum(sides)
        assert 80 <= len(sides) - sum(sides)
    kinds = {one.kind for one in known if one.order}
    assert all(sum(one.kind == kind for one in known) >= 100 for kind in kinds)


def test_no_slot_is_left_unfilled() -> None:
    rng = random.Random(0)
    assert not [one.text for one in wordings() if re.search(r"\{[a-z]+\}", one.filled(rng))]


def test_a_trained_classifier_tells_unknown_wordings_apart() -> None:
    known = [one for one in wordings() if one.batch == "fourth"]
    half = [one for number, one in enumerate(known) if number % 2]
    rest = [one for number, one in enumerate(known) if number % 2 == 0]
    row = train_head("injection", order_texts(random.Random(0), half))
    said = scores("injection", row, [one.text for one in rest])
    orders = np.array([one.order for one in rest])
    assert said[orders].mean() > said[~orders].mean() + 0.5


def test_nothing_learns_from_the_look_alikes() -> None:
    texts = {text.casefold() for text in look_alikes()}
    assert len(texts) == len(look_alikes()) > 400
    assert not texts & {one.text.casefold() for one in wordings()}


def test_prose_serves_one_use_only() -> None:
    learned, fitted, measured = map(set, (paragraphs(use) for use in ("learn", "fit", "measure")))
    assert all(len(one) > 400 for one in (learned, fitted, measured))
    assert not learned & fitted
    assert not measured & (learned | fitted)
