"""What happens to crops on their way: pixels and labels stay together."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.clip import alterations
from training.clip.alterations import altered, covers

SIDE, GRID = 56, 7
Change = Callable[[np.random.Generator, alterations.Pixels], alterations.Pixels]
CHANGES: list[Change] = [*dict.fromkeys(alterations._COLORS)]
CHANGES += [alterations._ruled, alterations._compressed]


def crop() -> tuple[np.ndarray, np.ndarray]:
    """A crop whose patches have the grey of their label: label / 100."""
    labels = np.arange(GRID * GRID).reshape(GRID, GRID)
    grey = np.kron(labels, np.ones((SIDE // GRID, SIDE // GRID))) / 100
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32), labels


def test_labels_turn_with_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alterations, "_COLORS", (lambda _rng, pixels: pixels,))
    monkeypatch.setattr(alterations, "_ruled", lambda _rng, pixels: pixels)
    monkeypatch.setattr(alterations, "_compressed", lambda _rng, pixels: pixels)
    pixels, labels = crop()
    turns = set()
    for seed in range(60):
        got, patches = altered(np.random.default_rng(seed), pixels, labels)
        shown = np.round(100 * got[4::8, 4::8, 0]).astype(int)
        assert np.array_equal(shown, patches)
        turns.add(int(patches[0, 0]))
    assert turns == {0, 6, 42, 48}  # every corner has been at the top left


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_keeps_shape_and_type_and_does_something(change: Change) -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (SIDE, SIDE, 3)).astype(np.float32)
    got = change(np.random.default_rng(1), pixels.copy())
    assert got.shape == pixels.shape
    assert np.isfinite(got).all()
    assert np.abs(got - pixels).max() > 0.05


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000))
def test_altered_crops_are_pictures_and_the_same_each_time(seed: int) -> None:
    pixels = np.random.default_rng(seed).uniform(0, 1, (SIDE, SIDE, 3)).astype(np.float32)
    labels = crop()[1]
    first, second = (altered(np.random.default_rng(seed), pixels, labels) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert first[0].dtype == np.float32
    assert first[0].shape == (SIDE, SIDE, 3)
    assert 0 <= first[0].min() <= first[0].max() <= 1
    assert sorted(first[1].ravel()) == sorted(labels.ravel())


def test_grey_has_no_colour_but_at_most_one_tint() -> None:
    pixels = np.random.default_rng(2).uniform(0, 1, (SIDE, SIDE, 3)).astype(np.float32)
    for seed in range(10):
        got = alterations._grey(np.random.default_rng(seed), pixels)
        ratios = got / got[..., :1]
        assert np.ptp(ratios.reshape(-1, 3), axis=0).max() < 1e-4


def test_a_cover_hides_part_of_a_thing_and_leaves_part_of_it() -> None:
    box = (30, 10, 15)  # side, left, top
    hidden = []
    for seed in range(400):
        shapes = covers(np.random.default_rng(seed), [box], SIDE)
        assert len(shapes) <= 2
        for shape in shapes:
            assert shape.where.shape == (SIDE, SIDE)
            assert shape.where.dtype == bool
            assert 0 <= shape.color.min() <= shape.color.max() <= 1
            hidden.append(shape.where[15:45, 10:40].mean())
    assert 60 < len(hidden) < 180  # about a fifth of the crops, one or two covers each
    assert 0.05 < np.mean(hidden) < 0.5
    assert max(hidden) < 0.75


def test_nothing_is_covered_where_nothing_is() -> None:
    assert covers(np.random.default_rng(0), [], SIDE) == []
