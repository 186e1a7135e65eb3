from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest

from benchmarks.words import banks
from benchmarks.words.banks import Split, half
from benchmarks.words.harmless import DESIGNS, harmless_pictures, twin_pictures
from benchmarks.words.orders import LOOK_ALIKES, ORDERS
from benchmarks.words.page import Picture
from benchmarks.words.screens import SCREENS, harmless_screens, injected_screens
from guardalign_middleware.words.form import FormJudge

Draw = Callable[[Split, int], Iterator[Picture]]
SETS: dict[str, Draw] = {
    "harmless": harmless_pictures,
    "injected": injected_screens,
    "screens": harmless_screens,
}


@pytest.mark.parametrize("name", SETS)
def test_pictures_are_drawn_alike_each_time_and_differ(name: str) -> None:
    first, again = (list(SETS[name]("development", 30)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.lines == other.lines
        assert np.array_equal(one.pixels, other.pixels)
    assert len({picture.pixels.tobytes() for picture in first}) == 30
    assert len({picture.name for picture in first}) == 30


@pytest.mark.parametrize("name", SETS)
def test_what_is_written_stands_in_the_picture(name: str) -> None:
    for picture in SETS[name]("report", 24):
        ground = np.median(picture.pixels.reshape(-1, 3), axis=0)
        for line in picture.lines:
            x0, y0, x1, y1 = line.box
            seen = picture.pixels[max(y0, 0) : y1, max(x0, 0) : x1]
            assert seen.size, (picture.name, line)
            assert np.ptp(seen.astype(int), axis=(0, 1)).max() > 20 or (seen != ground).any()


def test_every_design_is_drawn() -> None:
    assert len(DESIGNS) >= 20
    assert {one.design for one in harmless_pictures("report", len(DESIGNS))} == set(DESIGNS)
    designs = {one.design.split(", ")[0] for one in injected_screens("report", 60)}
    assert designs == set(SCREENS)


def test_the_halves_share_no_entry() -> None:
    lists = [value for value in vars(banks).values() if isinstance(value, tuple)]
    assert len(lists) > 15
    for bank in lists:
        assert not set(half(bank, "development")) & set(half(bank, "report"))
        assert len(set(bank)) == len(bank)
    for split in (ORDERS, LOOK_ALIKES):
        assert not set(split["development"]) & set(split["report"])
        assert {len(texts) for texts in split.values()} == {20}


def test_the_classifiers_learned_from_none_of_it() -> None:
    from training.words import banks as trained

    own = {sentence for texts in (*ORDERS.values(), *LOOK_ALIKES.values()) for sentence in texts}
    own |= {entry for value in vars(banks).values() if isinstance(value, tuple) for entry in value}
    learned = {
        sentence
        for value in vars(trained).values()
        if isinstance(value, tuple)
        for sentence in value
    }
    assert not own & learned


def test_twins_have_the_form_of_a_carrier() -> None:
    # By design: what they cost is what the form alone costs.
    for picture in islice(twin_pictures("development"), 5):
        assert any(one.unsafe for one in FormJudge().judge(picture.lines))


def test_the_development_half_is_told_apart_by_form() -> None:
    judge = FormJudge()

    def flagged(pictures: Iterator[Picture]) -> int:
        return sum(any(one.unsafe for one in judge.judge(each.lines)) for each in pictures)

    assert flagged(injected_screens("development", 20)) >= 18
    assert flagged(harmless_screens("development", 40)) == 0
    assert flagged(harmless_pictures("development", 96)) <= 2
