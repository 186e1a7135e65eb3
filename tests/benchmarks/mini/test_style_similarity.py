"""The held-out drawing style is not a copy of a training style."""

import numpy as np

from benchmarks.mini.style_similarity import COLORED, similarities
from guardalign_middleware.mini.world import STYLES


def test_the_held_out_style_is_no_more_similar_than_the_training_styles_are() -> None:
    trained = tuple(style for style in COLORED if not STYLES[style].held_out)
    held_out = similarities("emojione", trained)
    assert max(held_out) < 0.98
    for style in trained:
        others = tuple(other for other in trained if other != style)
        assert np.median(held_out) <= np.median(similarities(style, others)) + 0.02


def test_a_style_is_similar_to_itself() -> None:
    assert min(similarities("noto", ("noto", "fluent"))) > 0.999
