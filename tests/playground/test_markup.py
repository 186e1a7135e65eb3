"""What the page draws holds every number, and no word of it is read as HTML."""

from dataclasses import replace

import numpy as np

from guardalign_middleware.playground.attention import Attention
from guardalign_middleware.playground.inspection import Probe
from guardalign_middleware.playground.layers import Place, Tag
from guardalign_middleware.playground.markup import (
    attention_rows,
    attention_svg,
    explanation,
    histogram_svg,
    number,
    probe_words,
    region_rows,
    regions_overlay,
)
from guardalign_middleware.testing import picture, red_guard
from guardalign_middleware.types import Region

EVIL = '<img src=x onerror="alert(1)">'
PLACE = Place(10.0, 40.0, 20.0, 30.0)
SEEN = Attention((0, 1, 2, 3), (0.1, 0.2, 0.2, 0.1), (0.1, 0.4, 0.4, 0.1), (1, 2), 0.5)


def test_names_of_concepts_are_escaped() -> None:
    tag = Tag(PLACE, EVIL, 0.00012, "mask", "picture")
    verdict = replace(
        red_guard().scan(picture(red=True)), regions=(Region((0, 0, 4, 4), EVIL, 0.1, 0.1),)
    )
    for drawn in (regions_overlay([tag], [PLACE], final=True), region_rows(verdict)):
        assert "<img" not in drawn
        assert "&lt;img" in drawn


def test_labels_that_would_lie_on_one_another_are_parted() -> None:
    tags = [Tag(Place(left, 40.0, 20.0, 30.0), "weapon", 0.1, "mask", "picture") for left in (8, 9)]
    assert regions_overlay(tags, [], final=False).count("ga-low") == 1


def test_numbers_keep_what_tells_them_apart() -> None:
    assert [number(value) for value in (0.00015249, 0.0682, 0.5)] == ["0.00015", "0.068", "0.500"]


def test_a_decision_is_a_sentence() -> None:
    guard = red_guard()
    assert explanation(guard.scan(picture())).startswith("Nothing is near enough")
    masked = guard.scan(picture(red=True))
    assert explanation(masked).startswith("“weapon” in ")
    assert "No model" in explanation(replace(masked, decision="block"))
    assert probe_words(None) == "No crop covers this point."
    assert "at most" in probe_words(Probe((0, 0, 1, 1), "weapon", 0.1, 0.1))
    assert "above" in probe_words(Probe((0, 0, 1, 1), "weapon", 0.2, 0.1))


def test_bars_left_of_the_thumb_are_hot() -> None:
    drawn = histogram_svg(np.ones(50, np.int64), -3.5 + 5.0 * 10 / 50)
    assert drawn.count("ga-hot") == 10
    assert drawn.count("ga-cold") == 40
    assert "NaN" not in histogram_svg(np.zeros(50, np.int64), 0.0)


def test_the_plot_of_attention_says_in_words_what_it_shows() -> None:
    drawn = attention_svg(SEEN)
    assert drawn.count("<circle") == 8
    assert drawn.count("ga-band") == 2
    assert SEEN.summary in drawn
    assert "40%" in SEEN.summary
    assert "20%" in SEEN.summary
    assert attention_rows(SEEN).count("<tr>") == 4
    assert "γ is 0" in Attention((0,), (0.1,), (0.1,), (), 0.0).summary
