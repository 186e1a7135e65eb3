"""A line of words refuses what would make a guard blind."""

import pytest

from guardalign_middleware.words.line import WordLine

CORNERS = ((0.0, 0.0), (9.0, 0.0), (9.0, 4.0), (0.0, 4.0))


@pytest.mark.parametrize(
    ("text", "corners", "angle", "confidence"),
    [
        ("a", CORNERS, 0.0, float("nan")),
        ("a", CORNERS, 0.0, 1.1),
        ("a", CORNERS, float("nan"), 0.9),
        ("a", CORNERS, -180.0, 0.9),
        ("a", ((0.0, float("nan")), *CORNERS[1:]), 0.0, 0.9),
    ],
)
def test_a_line_with_nan_or_out_of_range_is_refused(text, corners, angle, confidence) -> None:
    with pytest.raises(ValueError, match="should"):
        WordLine(text, (0, 0, 9, 4), corners, angle, confidence)


def test_a_longer_line_takes_more_of_a_cache() -> None:
    short, long = (WordLine("a" * n, (0, 0, 9, 4), CORNERS, 0.0, 1.0) for n in (1, 1000))
    assert long.nbytes > short.nbytes
