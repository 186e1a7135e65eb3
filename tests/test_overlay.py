from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from guardalign_middleware import overlay
from guardalign_middleware.overlay import draw_overlay
from guardalign_middleware.types import Action, CanonicalImage, Decision, Evidence, Region
from tests.support.verdicts import grid_evidence, make_verdict, plain_image

BOX_COLOUR = (235, 20, 45)
REPORTED_COLOUR = (20, 90, 200)
CATEGORIES: dict[Action, str] = {"mask": "weapon", "block": "weapon", "flag": "drug"}


def grey_image(width: int, height: int, level: int = 128) -> CanonicalImage:
    return CanonicalImage(np.full((height, width, 3), level, dtype=np.uint8))


def shown_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    draw_text = ImageDraw.ImageDraw.text

    def record(
        self: ImageDraw.ImageDraw, xy: object, text: str, *args: object, **kw: object
    ) -> None:
        texts.append(text)
        draw_text(self, xy, text, *args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    return texts


def test_what_was_looked_at_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = shown_texts(monkeypatch)
    image = plain_image(600, 400)
    draw_overlay(image, make_verdict(image))
    assert "seen: native 640 x 480 down to 56 px in 16 crops" in " ".join(texts)


@pytest.mark.parametrize("decision", ["allow", "mask", "block"])
def test_decision_category_distance_and_threshold_are_written(
    decision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = shown_texts(monkeypatch)
    image = plain_image(200, 150)
    chosen = [] if decision == "allow" else [(20, 30, 60, 80)]
    draw_overlay(image, make_verdict(image, chosen, decision=decision))  # type: ignore[arg-type]
    written = " ".join(texts)
    words = {"allow": "ALLOWED", "mask": "MASKED", "block": "BLOCKED"}
    assert words[decision] in written
    assert "weapon" in written
    assert ("0.300" if chosen else "0.700") in written
    assert "threshold 0.400" in written


@pytest.mark.parametrize(
    ("actions", "decision", "words"),
    [
        (("flag",), "allow", ["ALLOWED", "only reported, left visible: drug in 1 region"]),
        (("mask", "flag", "mask"), "mask", ["MASKED", "weapon in 2 regions", "drug in 1 region"]),
        (("flag", "block"), "block", ["weapon in 1 region: the image is not forwarded"]),
    ],
)
def test_what_is_only_reported_is_told_apart(
    actions: tuple[Action, ...],
    decision: Decision,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = shown_texts(monkeypatch)
    image = grey_image(800, 600)
    regions = tuple(
        Region((250 * i + 20, 200, 250 * i + 220, 400), CATEGORIES[action], 0.3, 0.7, action)
        for i, action in enumerate(actions)
    )
    # The nearest concept is one that is only reported.
    verdict = make_verdict(image, decision=decision, distance=0.3, category="drug")
    verdict = replace(verdict, regions=regions)
    drawn = np.asarray(draw_overlay(image, verdict))
    written = " ".join(texts)
    assert all(word in written for word in words)
    assert written.count("drug 0.300, reported") == actions.count("flag")
    header = len(drawn) - image.height - overlay._footer(verdict, image.width).height
    for region in regions:
        x0, y0 = region.box[0], region.box[1] + header
        colour = REPORTED_COLOUR if region.action == "flag" else BOX_COLOUR
        assert (drawn[y0 + 100, x0 : x0 + 3] == colour).all()


def test_each_decision_has_its_colour() -> None:
    image = plain_image(200, 150)
    colours = {
        draw_overlay(image, make_verdict(image, decision=decision)).getpixel((1, 1))
        for decision in ("allow", "mask", "block")
    }
    assert len(colours) == 3


@settings(max_examples=12, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    count=st.integers(0, 20),
    category=st.sampled_from(["weapon", "x", "violence " * 30, "unbroken" * 40]),
)
def test_any_size_and_any_number_of_regions_can_be_drawn(
    width: int, height: int, count: int, category: str
) -> None:
    image = grey_image(width, height)
    step = np.random.default_rng(count)
    boxes = []
    for _ in range(count):
        x0, y0 = int(step.integers(0, width)), int(step.integers(0, height))
        boxes.append(
            (x0, y0, int(step.integers(x0, width)) + 1, int(step.integers(y0, height)) + 1)
        )
    picture = draw_overlay(image, make_verdict(image, boxes, category=category))
    assert picture.mode == "RGB"
    assert 512 <= picture.width <= 1600
    assert picture.height > 120


@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_box_lies_where_the_region_is(level: int) -> None:
    image = grey_image(800, 600, level)
    flagged = draw_overlay(image, make_verdict(image, [(200, 150, 400, 350)]))
    pixels = np.asarray(flagged)
    top = flagged.height - pixels.shape[0]
    rows, columns = np.nonzero((pixels[top:] == BOX_COLOUR).all(axis=-1))
    vertical = np.bincount(columns, minlength=flagged.width)
    tall = np.nonzero(vertical >= 180)[0]
    assert {tall.min(), tall.max()} == {200, 399}
    horizontal = np.bincount(rows, minlength=pixels.shape[0])
    wide = np.nonzero(horizontal >= 190)[0]
    assert wide.max() - wide.min() == 199


def test_a_long_label_is_wrapped_and_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = shown_texts(monkeypatch)
    image = grey_image(300, 200)
    category = "everything that a policy author could think of in one long breath " * 3
    draw_overlay(image, make_verdict(image, [(10, 10, 90, 90)], category=category.strip()))
    assert " ".join(texts).count(category.strip()) == 2
    fonts = overlay._font(20)
    assert all(fonts.getlength(text) <= 512 for text in texts)


class TestHeat:
    DISTANCES = [0.2] + [0.8] * 15

    def difference(self, image: CanonicalImage, distances: list[float] | float) -> np.ndarray:
        """How far the overlay's picture departs from the image, as float `[H, W]`."""
        return self.drawn_on(image, grid_evidence(image.width, image.height, distances))

    def drawn_on(self, image: CanonicalImage, evidence: Evidence) -> np.ndarray:
        verdict = make_verdict(image, [(0, 0, 10, 10)], evidence=evidence)
        drawn = overlay._with_heat(image.to_pil(), verdict)
        change: np.ndarray = np.abs(np.asarray(drawn).astype(float) - image.pixels).sum(axis=-1)
        return change

    def test_it_is_hot_where_the_distance_is_small_and_clear_elsewhere(self) -> None:
        heat = self.difference(grey_image(800, 600), self.DISTANCES)
        assert heat[75, 100] > 100
        assert heat[300:, 400:].max() == 0

    def test_an_even_image_without_anything_near_stays_as_it_is(self) -> None:
        assert self.difference(grey_image(800, 600), 0.8).max() == 0

    def test_fine_crops_place_what_a_coarse_one_shows_too(self) -> None:
        fine = grid_evidence(800, 600, self.DISTANCES)
        both = replace(
            fine,
            patch_boxes=np.vstack([fine.patch_boxes, [(0, 0, 800, 600)]]),
            patch_distances=np.append(fine.patch_distances, 0.2),
            patch_categories=("weapon",) * 17,
            patch_levels=np.array([0] * 16 + [1]),
        )
        heat = self.drawn_on(grey_image(800, 600), both)
        assert heat[75, 100] > 1.5 * heat[500, 700] > 0

    def test_what_only_one_of_many_levels_sees_is_as_red_as_what_all_see(self) -> None:
        image = grey_image(800, 600)
        fine = grid_evidence(800, 600, self.DISTANCES)
        blind = [0.8] * 16
        both = replace(
            fine,
            patch_boxes=np.tile(fine.patch_boxes, (4, 1)),
            patch_distances=np.array(self.DISTANCES + 3 * blind),
            patch_categories=("weapon",) * 64,
            patch_levels=np.repeat(np.arange(4), 16),
        )
        drawn = [self.drawn_on(image, evidence)[75, 100] for evidence in (fine, both)]
        assert drawn[1] == pytest.approx(drawn[0], rel=0.02)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_distance_that_is_no_number_is_an_error(self, value: float) -> None:
        with pytest.raises(ValueError, match="finite"):
            self.difference(grey_image(80, 60), [value] + [0.8] * 15)


def test_a_verdict_on_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="40 x 30"):
        draw_overlay(plain_image(41, 30), make_verdict(plain_image(40, 30)))


def test_the_image_is_not_changed() -> None:
    image = plain_image(600, 500)
    before = image.sha256
    drawn = draw_overlay(image, make_verdict(image, [(20, 20, 200, 200)]))
    assert isinstance(drawn, Image.Image)
    assert CanonicalImage(image.pixels.copy()).sha256 == before
