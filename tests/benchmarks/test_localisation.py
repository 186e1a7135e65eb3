from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.localisation import hottest_point, inside, overlap
from guardalign_middleware.types import Box

Patch = tuple[int, int, int, int]


def by_pixels(boxes: list[Box], heats: list[float]) -> tuple[int, int]:
    """The definition, pixel by pixel; of two middle ones the first."""
    mean, seen = np.zeros((40, 40)), np.zeros((40, 40))
    for side in {x1 - x0 for x0, _, x1, _ in boxes}:
        total, shown = np.zeros((40, 40)), np.zeros((40, 40))
        for (x0, y0, x1, y1), heat in zip(boxes, heats, strict=True):
            if x1 - x0 == side:
                total[y0:y1, x0:x1] += heat
                shown[y0:y1, x0:x1] += 1
        mean += np.where(shown > 0, total / np.maximum(shown, 1), 0.0)
        seen += shown > 0
    left, top = min(x for x, *_ in boxes), min(y for _, y, *_ in boxes)
    right, bottom = max(x for *_, x, _ in boxes), max(y for *_, y in boxes)
    inner = np.zeros((40, 40), dtype=bool)
    inner[top:bottom, left:right] = True
    final = np.where(inner, mean / np.maximum(seen, 1), -np.inf)
    rows, columns = np.nonzero(final >= final.max() - 1e-9)
    middle = (len(rows) - 1) // 2
    return int(np.sort(columns)[middle]), int(np.sort(rows)[middle])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30), st.integers(0, 30), st.sampled_from([6, 10]), st.integers(0, 3)
        ),
        min_size=1,
        max_size=12,
    )
)
def test_equals_the_definition(patches: list[Patch]) -> None:
    boxes: list[Box] = [(x, y, x + side, y + side) for x, y, side, _ in patches]
    heats = [level / 3 for *_, level in patches]
    levels = np.array([side for _, _, side, _ in patches])
    assert hottest_point(np.array(boxes), np.array(heats), levels) == by_pixels(boxes, heats)


def test_overlapping_patches_agree_on_the_middle() -> None:
    boxes = np.array([[0, 0, 20, 20], [10, 0, 30, 20], [0, 0, 40, 40]])
    levels = np.array([0, 0, 1])
    assert 10 <= hottest_point(boxes, np.array([0.9, 0.9, 0.5]), levels)[0] < 20
    with pytest.raises(ValueError, match="at least one patch"):
        hottest_point(boxes, np.array([0.9, -0.1, 1.0]), levels)
    with pytest.raises(ValueError, match="at least one patch"):
        hottest_point(boxes[:0], np.array([]), levels[:0])


def test_boxes() -> None:
    assert inside((3, 4), (3, 4, 5, 5))
    assert not inside((5, 4), (3, 4, 5, 5))
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1.0
    assert overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
