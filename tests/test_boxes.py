"""Geometry of half-open boxes."""

import pytest

from guardalign_middleware.boxes import covered
from guardalign_middleware.types import Box


@pytest.mark.parametrize(
    ("covers", "share"),
    [
        ([], 0.0),
        ([(0, 0, 15, 40), (0, 0, 12, 12)], 0.5),
        ([(0, 0, 9, 9), (21, 21, 30, 30)], 0.0),
        ([(0, 0, 30, 30)], 1.0),
    ],
)
def test_the_covered_share_counts_overlaps_once(covers: list[Box], share: float) -> None:
    assert covered((10, 10, 20, 20), covers) == share
