"""Pictures, boxes and bars in forms that fit every size of a page."""

import base64
import io

import numpy as np
from PIL import Image

from guardalign_middleware.playground.inspection import Inspector
from guardalign_middleware.playground.layers import (
    Place,
    heat_url,
    histogram,
    picture_url,
    tags_of,
)
from guardalign_middleware.playground.settings import EXPONENTS, Settings
from guardalign_middleware.testing import picture, red_guard
from guardalign_middleware.types import CanonicalImage


def opened(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_places_are_shares_of_the_picture() -> None:
    place = Place.of((10, 20, 60, 40), 200, 100)
    assert (place.left, place.top, place.width, place.height) == (5.0, 20.0, 25.0, 20.0)
    assert place.style == "left:5.000%;top:20.000%;width:25.000%;height:20.000%"


def test_pictures_are_scaled_to_fit_and_small_ones_stay_exact() -> None:
    small = picture(red=True)
    assert np.array_equal(np.asarray(opened(picture_url(small))), small.pixels)
    large = CanonicalImage(np.zeros((900, 1800, 3), np.uint8))
    assert opened(picture_url(large)).size == (1280, 640)
    assert opened(picture_url(large, 160)).size == (160, 80)


def test_bars_share_the_scale_of_the_slider() -> None:
    inspector = Inspector(red_guard(), 10**6)
    inspection = inspector.measure(picture(red=True))
    for exponent in (-2.0, 0.0, 1.0):
        settings = Settings(exponent, 0.0, None)
        verdict = inspector.verdict(inspection, settings)
        counts = histogram(verdict, settings.factor)
        assert counts.sum() == len(verdict.evidence.patch_distances)
        # What does not move with the slider are the patches.
        own = histogram(inspector.verdict(inspection, Settings(0.0, 0.0, None)), 1.0)
        assert np.array_equal(counts, own)
        low, high = EXPONENTS
        cut = int((exponent - low) / (high - low) * len(counts))
        unsafe = int((verdict.evidence.patch_distances <= verdict.patch_thresholds).sum())
        assert counts[:cut].sum() <= unsafe <= counts[: cut + 1].sum()


def test_the_heat_is_clear_where_nothing_is_near_and_tags_name_the_regions() -> None:
    inspector = Inspector(red_guard(), 10**6)
    own = Settings(0.0, 0.0, None)
    found = inspector.verdict(inspector.measure(picture(red=True)), own)
    layer = np.asarray(opened(heat_url(found)))
    assert layer.shape[-1] == 4
    assert layer[..., 3].min() < 20 < 120 < layer[..., 3].max()
    (tag, *_) = tags_of(found)
    assert (tag.category, tag.action, tag.kind) == ("weapon", "mask", "picture")
