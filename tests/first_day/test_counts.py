"""Small numbers of pictures are explained, and the explanation is what the fit does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.detection import fit_threshold
from guardalign_middleware.detection.conformal import fit_by_form
from guardalign_middleware.detection.fit import split_held_out
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.first_day.counts import Counts, explained, needed


@pytest.mark.parametrize(
    ("bound", "share", "ways", "pictures"),
    # 19 of 27 fit a threshold for 5%: 1 / .05 - 1. Without any held out, 19 are all.
    [(0.05, 0.3, 1, 27), (0.05, 0.0, 1, 19), (0.05, 0.3, 2, 55), (0.01, 0.3, 1, 141)],
)
def test_how_many_pictures_a_bound_takes(
    bound: float, share: float, ways: int, pictures: int
) -> None:
    assert needed(bound, share, ways) == pictures
    assert Counts.of(pictures, share, ways).smallest <= bound + 1e-9
    assert Counts.of(pictures - 1, share, ways).smallest > bound


@settings(max_examples=30)
@given(bound=st.sampled_from([0.2, 0.1, 0.05, 0.02]), share=st.sampled_from([0.0, 0.2, 0.3, 0.5]))
def test_the_fit_takes_as_many_and_no_fewer(bound: float, share: float) -> None:
    count = needed(bound, share)
    order, held = split_held_out(count, share, np.random.default_rng(0))
    kept = [float(one) for one in order[held:]]
    fit_threshold(kept, max_false_alarm=bound, binding={})
    with pytest.raises(ConfigError, match="cannot guarantee"):
        fit_threshold(kept[1:], max_false_alarm=bound, binding={})


def test_forms_that_disagree_take_as_many_as_is_said() -> None:
    count = needed(0.1, 0.0, 2)
    images = [{"one": {"a": float(n)}, "other": {"a": float(count - n)}} for n in range(count)]
    fit_by_form(images, [], 0.1, binding={})


def test_the_words_name_what_is_held_out_and_what_can_be_promised() -> None:
    said = " ".join(explained(Counts.of(20, 0.3), Counts.of(10, 0.3), 0.3, 0.05, None))
    assert "20 safe pictures: 14 set the threshold, 6 are held out" in said
    assert "may not be enough to promise at most 0.05 of false alarms: 27 always are" in said
    assert "with these 0.0667 can always be promised" in said
    assert "up to 39.0% (95% interval)" in said
    assert "5% 27" in said
    none = " ".join(explained(Counts.of(100, 0.3), Counts.of(0, 0.3), 0.3, 0.05, None))
    assert "No unsafe pictures: nothing is measured or promised about misses." in none
    assert "They are enough to promise at most 0.05" in none
