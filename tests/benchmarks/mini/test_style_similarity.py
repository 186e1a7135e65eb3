"""The held-out hand is none of those that are trained on."""

import numpy as np

from benchmarks.mini.style_similarity import COLORED, alike
from guardalign_middleware.mini.world import STYLES


def test_what_is_held_out_is_no_more_alike_than_hands_are() -> None:
    trained = tuple(style for style in COLORED if not STYLES[style].held_out)
    held_out = alike("emojione", trained)
    assert max(held_out) < 0.98
    for style in trained:
        others = tuple(other for other in trained if other != style)
        assert np.median(held_out) <= np.median(alike(style, others)) + 0.02


def test_a_hand_is_like_itself() -> None:
    assert min(alike("noto", ("noto", "fluent"))) > 0.999
