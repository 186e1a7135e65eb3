from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.config import FormConfig, PatchConfig
from guardalign_middleware.detection.forms import Form
from guardalign_middleware.detection.plan import Look, view_patches
from guardalign_middleware.detection.views import View
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import CanonicalImage

SQUASHED, NATIVE = FormConfig(kind="squashed", side=224), FormConfig(kind="native")
INPUT = 56
AS_IS = View("as_is")


def look(*forms: FormConfig, max_crops: int = 256, model_forms: TwoTiles | None = None) -> Look:
    return Look(forms, model_forms, PatchConfig(max_crops=max_crops), INPUT)


def blank(width: int, height: int) -> CanonicalImage:
    return CanonicalImage(np.zeros((height, width, 3), dtype=np.uint8))


class TwoTiles:
    """A processor that shows the left and the right half at 60 × 60 pixels."""

    fingerprint = "two tiles"

    def __call__(self, image: CanonicalImage) -> Sequence[Form]:
        middle, height = image.width / 2, float(image.height)
        pixels = np.full((60, 60, 3), 9, dtype=np.uint8)
        return [
            Form("model", 60, 60, (left, 0.0, left + middle, height), pixels)
            for left in (0.0, middle)
        ]


@given(
    short=st.integers(1, 4000),
    aspect=st.floats(1.0, 100.0),
    upright=st.booleans(),
    max_crops=st.integers(12, 600),
)
@settings(max_examples=150, deadline=None)
def test_the_budget_holds_and_everything_is_seen_at_every_level(
    short: int, aspect: float, upright: bool, max_crops: int
) -> None:
    long = int(short * aspect)
    width, height = (short, long) if upright else (long, short)
    plan = look(SQUASHED, NATIVE, max_crops=max_crops)
    forms = plan.resampled(width, height)
    assert [form.name for form in forms] == ["squashed", "native"]
    assert plan.crop_count(width, height) <= max_crops
    for form in forms:
        boxes = plan.crops_of(form)
        sides = boxes[:, 2] - boxes[:, 0]
        # The first crop shows all of the form.
        assert (boxes[0, :2] <= 0).all()
        assert (boxes[0, 2:] >= [form.width, form.height]).all()
        # Nothing is looked at more finely than the encoder's own scale.
        assert sides.min() >= min(INPUT, max(form.width, form.height))
        for side in np.unique(sides).tolist():
            here = boxes[sides == side]
            for low, length in ((0, form.width), (1, form.height)):
                edges = np.unique(here[:, low])
                assert edges[0] <= 0
                assert edges[-1] + side >= length
                assert (np.diff(edges) <= side).all()


@pytest.mark.parametrize("size", [(480, 320), (4000, 3000), (3000, 40), (20_000, 200), (64, 64)])
def test_no_size_and_no_shape_costs_more_than_the_budget(size: tuple[int, int]) -> None:
    assert look(SQUASHED, NATIVE).crop_count(*size) <= 256


def test_the_budget_is_spent_from_coarse_to_fine() -> None:
    """The squashed form, which shows less detail, keeps its crops; the native one is shrunk."""
    squashed, native = look(SQUASHED, NATIVE).resampled(4000, 3000)
    assert (squashed.width, squashed.height) == (224, 224)
    assert max(native.width, native.height) < 1000
    squashed, native = look(SQUASHED, NATIVE, max_crops=20).resampled(4000, 3000)
    assert squashed.width < 224
    assert abs(squashed.width - native.width) < 20


def test_a_picture_within_the_budget_is_looked_at_in_full() -> None:
    (native,) = look(NATIVE).resampled(480, 320)
    assert (native.width, native.height) == (480, 320)
    assert look(NATIVE).crop_count(480, 320) == 236


def test_the_evidence_tells_what_was_looked_at() -> None:
    parts = view_patches(blank(480, 320), AS_IS, look(SQUASHED, NATIVE, max_crops=400))
    levels = [level for part in parts for level in part.levels]
    assert [(level.form, level.side, level.crops) for level in levels] == [
        ("squashed", 224, 1),
        ("squashed", 112, 9),
        ("squashed", 56, 49),
        ("native", 480, 1),
        ("native", 224, 8),
        ("native", 112, 40),
        ("native", 56, 187),
    ]
    assert levels[2].size == (120.0, 80.0)
    assert levels[6].size == (56.0, 56.0)
    for part in parts:
        assert len(part.boxes) == len(part.image_boxes) == len(part.patch_levels)
        for index, level in enumerate(part.levels):
            here = part.boxes[part.patch_levels == index]
            assert len(here) == level.crops
            assert (here[:, 2] - here[:, 0] == level.side).all()


def test_the_frames_of_a_processor_are_cut_like_all_others() -> None:
    parts = view_patches(blank(200, 100), AS_IS, look(NATIVE, model_forms=TwoTiles()))
    left, right = (part for part in parts if part.form.name == "model")
    assert (left.frame().pixels == 9).all()
    assert left.image_boxes[:, 2].max() == 100
    assert right.image_boxes[:, 0].min() == 100
    assert {level.side for level in left.levels} == {60}
    assert look(model_forms=TwoTiles()).finest_stride(200, 100) == 50


def test_crops_of_a_changed_view_are_placed_on_the_picture() -> None:
    (part,) = view_patches(blank(120, 80), View("mirrored"), look(NATIVE))
    (plain,) = view_patches(blank(120, 80), AS_IS, look(NATIVE))
    assert (part.image_boxes[:, 0] == 120 - plain.image_boxes[:, 2]).all()


def test_a_budget_below_one_crop_for_each_form_is_an_error() -> None:
    with pytest.raises(ConfigError, match="max_crops = 1"):
        look(SQUASHED, NATIVE, max_crops=1).resampled(100, 100)
    fixed = Look((NATIVE,), None, PatchConfig(sizes=(0.1,), max_crops=20), INPUT)
    with pytest.raises(ConfigError, match="max_crops = 20"):
        fixed.resampled(1000, 1000)


def test_sizes_in_pixels_are_of_a_frame_that_shrinks_to_fit() -> None:
    fixed = Look((NATIVE,), None, PatchConfig(sizes=(64,), unit="pixels", max_crops=9), INPUT)
    assert fixed.resampled(128, 128)[0].width == 128
    assert fixed.resampled(192, 192)[0].width < 192
