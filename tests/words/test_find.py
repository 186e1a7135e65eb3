"""The contrast of a view, evened out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from guardalign_middleware.words.find import evened


def _view(low: float, high: float) -> np.ndarray:
    small = np.random.default_rng(3).uniform(low, high, (12, 20, 3))
    return cv2.resize(small.astype(np.float32), (160, 96)).astype(np.uint8)


def test_a_view_is_scaled_by_mean_and_deviation_of_the_neighbourhood() -> None:
    view = _view(0, 256)
    values = view.astype(np.float64)
    mean = cv2.blur(values, (15, 15))
    deviation = np.sqrt(cv2.blur(np.square(values - mean).mean(axis=2), (15, 15)))
    wanted = np.clip((values - mean) / (deviation + 3)[..., None] * 50 / 127.5, -1, 1)
    assert np.allclose(evened(view), wanted, atol=1e-5)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_view_has_no_contrast_to_even(level: int) -> None:
    assert not evened(np.full((64, 96, 3), level, np.uint8)).any()


def test_faint_words_are_found_as_strong_ones_are() -> None:
    faint, strong = (np.abs(evened(_view(*levels))).mean() for levels in ((100, 130), (0, 256)))
    assert strong < 2 * faint  # and not nine times
