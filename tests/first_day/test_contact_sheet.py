"""What the contact sheet shows of a picture that the guard scales down before it scans."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware.canonical import CanonicalImage
from guardalign_middleware.config import OutputConfig
from guardalign_middleware.first_day.contact_sheet import write_sheet
from guardalign_middleware.first_day.fitting import Fitted, measure_all
from guardalign_middleware.first_day.picture_sets import Picture
from guardalign_middleware.first_day.plan import Plan
from guardalign_middleware.testing import picture, png, red_config, red_guard
from guardalign_middleware.thumbnails import covered_thumbnail

GUARD = red_guard(red_config(output=OutputConfig(max_side=64)))


@pytest.fixture
def large(tmp_path: Path) -> Picture:
    path = tmp_path / "large.png"
    # Four times as large as the guard lets out.
    path.write_bytes(png(CanonicalImage(picture(red=True).pixels.repeat(4, 0).repeat(4, 1))))
    return Picture("large.png", path)


def shown_on_a_sheet(large: Picture, folder: Path) -> str:
    """The picture as the page shows it, where it is unsafe."""
    plan = Plan("red", folder / "guard.yaml")
    detector = GUARD.detector
    unsafe, problems = measure_all(
        detector, GUARD.config, [large], "unsafe", plan.seed, lambda pictures, _: pictures
    )
    assert not problems
    assert [one.sha256 for one in unsafe] == [GUARD.scan(large.read()).sha256]
    assert detector.profile is not None
    fitted = Fitted(detector.profile, frozenset())
    write_sheet(plan.review, GUARD, fitted, [], unsafe, [])
    (url,) = re.findall(r'src="(data:[^"]*)"', plan.review.read_text())
    return str(url)


def test_thresholds_are_fitted_to_what_is_scanned_and_nothing_unsafe_is_shown(
    large: Picture, tmp_path: Path
) -> None:
    url = shown_on_a_sheet(large, tmp_path)
    file = io.BytesIO(base64.b64decode(url.partition(",")[2]))
    shown = np.asarray(Image.open(file).convert("RGB"))
    assert not np.any((shown[..., 0] > 150) & (shown[..., 1] < 90))


def test_a_blocked_picture_is_made_of_coarse_squares(
    large: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = GUARD.scan
    monkeypatch.setattr(GUARD, "scan", lambda image: replace(scan(image), decision="block"))
    pixels = GUARD.load(large.read()).pixels
    assert shown_on_a_sheet(large, tmp_path) == covered_thumbnail(pixels, ())
