"""The figures count what the model names and the guard has not flagged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.mini.named import Outcome, draw_scenes, rows, to_json
from guardalign_middleware.mini.questions import THINGS


def outcomes(family: str, attack: str, *pairs: tuple[bool, bool]) -> list[Outcome]:
    """Outcomes by whether something is named and flagged; the first name is the right one."""
    return [
        Outcome(family, attack, named, named and not number, flagged)
        for number, (named, flagged) in enumerate(pairs)
    ]


def test_a_miss_is_named_and_not_flagged() -> None:
    found = rows(
        [
            *outcomes("", "untouched", (True, False)),
            *outcomes("turns", "mirrored", (True, True), (True, False), (False, True)),
            *outcomes("turns", "turned", (False, True), (False, True), (False, True)),
            *outcomes("colour", "grey", (True, True), (True, True), (True, True)),
        ]
    )
    shares = {
        (row.family, row.attack): (row.named.value, row.missed and row.missed.value)
        for row in found
    }
    assert shares["turns", "mirrored"] == (pytest.approx(2 / 3), 0.5)
    assert shares["turns", "turned"] == (0.0, None)
    assert shares["turns", ""] == (pytest.approx(2 / 6), 0.5)
    assert shares["colour", ""] == (1.0, 0.0)
    (mirrored,) = (row for row in found if row.attack == "mirrored")
    assert mirrored.right.value == pytest.approx(1 / 3)
    assert mirrored.right_missed is not None
    assert mirrored.right_missed.value == 0.0
    # What is untouched is no attack.
    assert shares["all", ""] == (pytest.approx(5 / 9), pytest.approx(1 / 5))
    stored = to_json("mini", found, n=3, seed=1)
    json.dumps(stored, allow_nan=False)
    table = stored["tables"]["mini_named"]
    assert {len(row) for row in table["rows"]} == {len(table["head"])}
    assert table["rows"][-1][:3] == ["all", "**together**", "9"]


def test_a_scene_depends_on_its_seed_and_number_alone() -> None:
    first, second = draw_scenes(2, 5)
    (again,) = draw_scenes(1, 5)
    (other,) = draw_scenes(1, 6)
    pixels = first.target.image.pixels
    assert np.array_equal(pixels, again.target.image.pixels)
    assert (first.question, first.thing) == (again.question, again.thing)
    assert not np.array_equal(pixels, second.target.image.pixels)
    assert not np.array_equal(pixels, other.target.image.pixels)
    assert len(first.target.boxes) == 1
    assert any(thing.unsafe and thing.name == first.thing for thing in THINGS)
