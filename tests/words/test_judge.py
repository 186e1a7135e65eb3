"""What a judge of words may answer."""

import pytest

from guardalign_middleware.words.judge import Judgement


def test_a_distance_at_the_threshold_is_unsafe() -> None:
    assert Judgement((0,), "fraud", 0.5, 0.5).unsafe
    assert not Judgement((0,), "fraud", 0.51, 0.5).unsafe


@pytest.mark.parametrize(
    ("lines", "distance", "threshold"),
    [((), 0.5, 0.5), ((-1,), 0.5, 0.5), ((0,), float("nan"), 0.5), ((0,), 0.5, float("nan"))],
)
def test_an_answer_about_no_line_or_without_a_number_is_refused(lines, distance, threshold) -> None:
    with pytest.raises(ValueError, match="should"):
        Judgement(lines, "fraud", distance, threshold)
