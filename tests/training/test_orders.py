from __future__ import annotations

import random
import re

import numpy as np

from training.words.fitting import scores, train_head
from training.words.look_alikes import look_alikes
from training.words.near_copies import NearCopies
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
    texts = look_alikes()
    assert len({text.casefold() for text in texts}) == len(texts) > 400
    learned = NearCopies(one.text for one in wordings())
    assert not [text for text in texts if learned.has(text)]


def test_prose_serves_one_use_only() -> None:
    learned, fitted, measured = (paragraphs(use) for use in ("learn", "fit", "measure"))
    assert min(map(len, (learned, fitted, measured))) > 400
    for texts, earlier in ((fitted, learned), (measured, [*learned, *fitted])):
        known = NearCopies(earlier)
        assert not [text for text in texts if known.has(text)]
