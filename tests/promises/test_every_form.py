"""Promise 2: every form of a picture is searched, all of it, whatever its size and shape.

Geometry alone, without an encoder: where the crops of each form lie on the picture.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from guardalign_middleware.config import GuardAlignConfig, IntakePolicy, PatchConfig, Sight
from guardalign_middleware.detection.forms import SIGHTS, Form, configured_forms
from guardalign_middleware.detection.plan import Look

LIMITS = IntakePolicy()
SIGHTS_AND_MINI: dict[str, object] = {
    **SIGHTS,
    "mini": GuardAlignConfig.load("mini").detection.sees,
}


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    """Any width and height that the default intake accepts."""
    short = draw(st.integers(1, int(LIMITS.max_pixels**0.5)))
    widest = min(short * LIMITS.max_aspect, LIMITS.max_pixels / short)
    long = draw(st.integers(short, int(widest)))
    return draw(st.sampled_from([(short, long), (long, short)]))


def seen(low: NDArray[np.int64], high: NDArray[np.int64], length: int) -> bool:
    """Whether the ranges `[low, high)` hold every number of `range(length)`."""
    order = np.argsort(low, kind="stable")
    reached = np.maximum.accumulate(high[order])
    starts = low[order]
    return bool(starts[0] <= 0 and reached[-1] >= length and (starts[1:] <= reached[:-1]).all())


def check(form: Form, look: Look, width: int, height: int) -> None:
    crops = look.crops_of(form)
    placed = form.to_image(crops, width, height)
    sides = crops[:, 2] - crops[:, 0]
    # The first crop shows the picture as a whole.
    assert placed[0].tolist() == [0, 0, width, height]
    # No crop enlarges what the model would get, unless all of it is smaller than the input.
    assert sides.min() >= min(look.input_side, max(form.width, form.height))
    for side in np.unique(sides).tolist():
        level = placed[sides == side]
        # A level is a grid, so what holds along both axes holds for every pixel.
        columns, rows = np.unique(level[:, [0, 2]], axis=0), np.unique(level[:, [1, 3]], axis=0)
        assert len(np.unique(level, axis=0)) == len(columns) * len(rows)
        assert seen(columns[:, 0], columns[:, 1], width)
        assert seen(rows[:, 0], rows[:, 1], height)


def test_every_name_that_a_preset_may_give_is_checked_here() -> None:
    # "model" is what the runner's processor makes; test_same_pixels.py has that.
    assert set(SIGHTS) | {"model"} == set(get_args(Sight))


@pytest.mark.parametrize("sight", SIGHTS_AND_MINI)
@settings(max_examples=60, deadline=None)
@given(
    size=sizes(),
    input_side=st.sampled_from([56, 224, 336, 384]),
    overlap=st.sampled_from([0.25, 0.5]),
    max_crops=st.integers(64, 1024),
)
def test_every_pixel_of_every_form_is_searched_at_every_level(
    sight: str, size: tuple[int, int], input_side: int, overlap: float, max_crops: int
) -> None:
    sees = SIGHTS_AND_MINI[sight]
    assert isinstance(sees, tuple)
    patches = PatchConfig(overlap=overlap, max_crops=max_crops)
    look = Look(configured_forms(sees), None, patches, input_side)
    forms = look.resampled(*size)
    assert {form.name for form in forms} == {"squashed", "native"}
    assert sum(len(look.crops_of(form)) for form in forms) <= max_crops
    for form in forms:
        check(form, look, *size)


@pytest.mark.parametrize("length", [1, 5, 9])
def test_a_gap_would_be_noticed(length: int) -> None:
    low, high = np.arange(length), np.arange(1, length + 1)
    assert seen(low, high, length)
    assert not seen(low, high, length + 1)
    if length > 2:
        assert not seen(np.delete(low, 1), np.delete(high, 1), length)
