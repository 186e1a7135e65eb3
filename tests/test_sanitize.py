from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.config import SanitizeConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.sanitize import mask_regions, sanitize
from guardalign_middleware.types import Box, CanonicalImage, Verdict
from tests.support.verdicts import make_verdict, plain_image

WIDTH, HEIGHT = 40, 30
FILL = (127, 127, 127)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, y0 = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    return x0, y0, draw(st.integers(x0 + 1, WIDTH)), draw(st.integers(y0 + 1, HEIGHT))


def covered(all_boxes: list[Box]) -> np.ndarray:
    inside = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for x0, y0, x1, y1 in all_boxes:
        inside[y0:y1, x0:x1] = True
    return inside


class TestMaskRegions:
    @settings(max_examples=80, deadline=None)
    @given(
        st.lists(boxes(), max_size=5),
        st.tuples(*[st.integers(0, 255)] * 3),
        st.integers(0, 3),
    )
    def test_inside_is_the_fill_and_outside_is_untouched(
        self, chosen: list[Box], fill: tuple[int, int, int], seed: int
    ) -> None:
        image = plain_image(WIDTH, HEIGHT, seed)
        before = image.pixels.copy()
        masked = mask_regions(image, chosen, SanitizeConfig(fill=fill))
        inside = covered(chosen)
        assert (masked.pixels[inside] == fill).all()
        np.testing.assert_array_equal(masked.pixels[~inside], before[~inside])
        np.testing.assert_array_equal(image.pixels, before)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(boxes(), max_size=5), st.randoms(use_true_random=False))
    def test_twice_or_in_another_order_is_the_same(self, chosen: list[Box], random: object) -> None:
        once = mask_regions(plain_image(WIDTH, HEIGHT), chosen)
        shuffled = sorted(chosen, key=lambda _: random.random())  # type: ignore[attr-defined]
        assert mask_regions(once, shuffled).sha256 == once.sha256
        assert mask_regions(plain_image(WIDTH, HEIGHT), shuffled).sha256 == once.sha256

    @settings(max_examples=40, deadline=None)
    @given(st.lists(boxes(), max_size=5))
    def test_blur_leaves_the_outside_untouched(self, chosen: list[Box]) -> None:
        image = plain_image(WIDTH, HEIGHT)
        blurred = mask_regions(image, chosen, SanitizeConfig(method="blur"))
        outside = ~covered(chosen)
        np.testing.assert_array_equal(blurred.pixels[outside], image.pixels[outside])

    def test_what_is_masked_cannot_be_read_from_the_result(self) -> None:
        first, second = plain_image(seed=1).pixels.copy(), plain_image(seed=1).pixels.copy()
        second[5:20, 5:20] = plain_image(seed=2).pixels[5:20, 5:20]
        box = (5, 5, 20, 20)
        results = [mask_regions(CanonicalImage(pixels), [box]) for pixels in (first, second)]
        assert results[0].sha256 == results[1].sha256

    def test_blur_removes_a_pattern(self) -> None:
        pixels = np.zeros((60, 60, 3), dtype=np.uint8)
        pixels[::10], pixels[:, ::6] = 255, 255
        blurred = mask_regions(
            CanonicalImage(pixels), [(10, 10, 50, 50)], SanitizeConfig(method="blur")
        )
        inside = blurred.pixels[10:50, 10:50].astype(float)
        assert max(np.abs(np.diff(inside, axis=axis)).max() for axis in (0, 1)) <= 4

    @pytest.mark.parametrize(
        "box", [(-1, 0, 3, 3), (0, 0, 41, 3), (0, 0, 3, 31), (3, 3, 3, 6), (5, 5, 4, 6)]
    )
    def test_a_box_that_is_none_is_an_error(self, box: Box) -> None:
        with pytest.raises(ValueError, match="a box should be"):
            mask_regions(plain_image(), [box])

    def test_block_covers_nothing(self) -> None:
        with pytest.raises(ValueError, match="method should be"):
            mask_regions(plain_image(), [], SanitizeConfig(method="block"))


class Scans:
    """A detector that finds the listed boxes, one list for each scan, and remembers the images."""

    def __init__(self, *answers: list[Box]) -> None:
        self.answers = list(answers)
        self.seen: list[CanonicalImage] = []

    def __call__(self, image: CanonicalImage) -> Verdict:
        self.seen.append(image)
        return make_verdict(image, self.answers.pop(0))


def finds_marks(image: CanonicalImage) -> Verdict:
    """A detector that flags the box around all pure red pixels."""
    rows, columns = np.nonzero((image.pixels == (255, 0, 0)).all(axis=-1))
    if not rows.size:
        return make_verdict(image)
    box = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    return make_verdict(image, [box])


EXACT = SanitizeConfig(margin=0.0)


class TestSanitize:
    BOX = (5, 5, 15, 15)

    def test_a_region_is_covered_with_a_margin_that_ends_at_the_border(self) -> None:
        image, scans = plain_image(), Scans([])
        verdict = make_verdict(image, [self.BOX, (30, 0, 40, 20)])
        result = sanitize(image, verdict, scans, SanitizeConfig(margin=0.2))
        assert result.boxes == ((3, 3, 17, 17), (26, 0, 40, 24))
        assert result.image is not None
        assert result.image.sha256 == mask_regions(image, result.boxes).sha256
        assert [region.box for region in result.verdict.regions] == [self.BOX, (30, 0, 40, 20)]

    def test_a_place_that_is_flagged_again_grows_also_without_a_margin(self) -> None:
        image = plain_image()
        result = sanitize(image, make_verdict(image, [self.BOX]), Scans([self.BOX], []), EXACT)
        assert result.boxes == ((3, 3, 17, 17),)

    def test_an_allowed_image_is_passed_on_as_it_is(self) -> None:
        image, scans = plain_image(), Scans()
        verdict = make_verdict(image)
        result = sanitize(image, verdict, scans)
        assert result.image is image
        assert result.verdict == verdict
        assert (result.rounds, result.masked_fraction, result.boxes) == (0, 0.0, ())
        assert result.residual_distance == verdict.distance
        assert not scans.seen

    def test_the_image_that_passed_the_scan_is_the_one_returned(self) -> None:
        image, scans = plain_image(), Scans([])
        result = sanitize(image, make_verdict(image, [self.BOX]), scans, EXACT)
        assert result.image is scans.seen[0]
        assert result.image.sha256 == mask_regions(image, [self.BOX]).sha256
        assert (result.verdict.decision, result.rounds) == ("mask", 1)
        assert result.boxes == (self.BOX,)
        assert result.verdict.sha256 == image.sha256
        assert result.verdict.distance == 0.3
        assert result.residual_distance == 0.7
        assert result.masked_fraction == pytest.approx(100 / 1200)

    def test_a_new_place_is_masked_too(self) -> None:
        image, second = plain_image(), (25, 5, 30, 10)
        scans = Scans([second], [])
        result = sanitize(image, make_verdict(image, [self.BOX]), scans, EXACT)
        assert result.boxes == (self.BOX, second)
        assert result.rounds == 2
        assert result.image is not None
        assert result.image.sha256 == mask_regions(image, [self.BOX, second]).sha256

    def test_a_covered_place_that_is_flagged_again_grows(self) -> None:
        image = plain_image()
        scans = Scans([(6, 6, 12, 12)], [])
        result = sanitize(image, make_verdict(image, [self.BOX, (30, 20, 35, 25)]), scans, EXACT)
        assert result.boxes == ((3, 3, 17, 17), (30, 20, 35, 25))

    def test_growth_ends_at_the_border(self) -> None:
        image = plain_image()
        scans = Scans([(0, 0, 10, 10)], [])
        result = sanitize(image, make_verdict(image, [(0, 0, 10, 10)]), scans, EXACT)
        assert result.boxes == ((0, 0, 12, 12),)

    @pytest.mark.parametrize("rounds", [1, 2, 3])
    def test_what_never_passes_is_blocked(self, rounds: int) -> None:
        image, scans = plain_image(), Scans(*[[self.BOX]] * 5)
        config = SanitizeConfig(max_rounds=rounds)
        result = sanitize(image, make_verdict(image, [self.BOX]), scans, config)
        assert (result.image, result.verdict.decision) == (None, "block")
        assert result.rounds == len(scans.seen) == rounds
        assert result.boxes == ()
        assert result.residual_distance == 0.3

    def test_covering_too_much_is_blocked_without_a_scan(self) -> None:
        image, scans = plain_image(), Scans([])
        verdict = make_verdict(image, [(0, 0, 40, 28)])
        result = sanitize(
            image, verdict, scans, SanitizeConfig(max_masked_fraction=0.6, margin=0.0)
        )
        assert (result.image, result.verdict.decision, scans.seen) == (None, "block", [])
        assert result.masked_fraction == pytest.approx(34 * 24 / 1200)

    @pytest.mark.parametrize(
        ("box", "margin", "masked"),
        [
            # 40 x 30 pixels, of which 720 may be masked: .2, .1 and 0 of the longer side around.
            ((10, 5, 30, 25), 0.2, (8, 3, 32, 27)),
            ((8, 5, 32, 25), 0.2, (5, 2, 35, 28)),
            ((10, 0, 32, 30), 0.2, (10, 0, 32, 30)),
        ],
    )
    def test_a_margin_that_covers_too_much_is_halved_then_left_out(
        self, box: Box, margin: float, masked: Box
    ) -> None:
        image, scans = plain_image(), Scans([])
        config = SanitizeConfig(margin=margin, max_masked_fraction=0.65)
        result = sanitize(image, make_verdict(image, [box]), scans, config)
        assert result.boxes == (masked,)
        assert len(scans.seen) == 1

    def test_at_last_a_mask_is_trimmed(self) -> None:
        image, scans = plain_image(), Scans([])
        result = sanitize(image, make_verdict(image, [(0, 0, 40, 24)]), scans)
        assert result.boxes == ((3, 2, 37, 22),)
        assert len(scans.seen) == 1

    def test_a_mask_without_its_margin_still_has_to_pass(self) -> None:
        image, box = plain_image(), (10, 0, 33, 30)
        scans = Scans([box])
        result = sanitize(image, make_verdict(image, [box]), scans)
        assert (result.image, len(scans.seen)) == (None, 1)

    def test_a_mask_that_may_not_grow_by_all_grows_by_half(self) -> None:
        image, box = plain_image(), (5, 5, 25, 25)
        config = SanitizeConfig(margin=0.0, max_masked_fraction=0.5)
        result = sanitize(image, make_verdict(image, [box]), Scans([box], []), config)
        assert result.boxes == ((3, 3, 27, 27),)

    def test_a_new_place_gets_the_margin_too(self) -> None:
        image, second = plain_image(), (25, 5, 30, 10)
        config = SanitizeConfig(margin=0.2)
        result = sanitize(image, make_verdict(image, [self.BOX]), Scans([second], []), config)
        assert result.boxes == ((3, 3, 17, 17), (24, 4, 31, 11))

    def test_new_places_are_no_failures(self) -> None:
        image = plain_image()
        places: list[Box] = [(2 * i, 0, 2 * i + 1, 1) for i in range(1, 6)]
        config = SanitizeConfig(margin=0.0, max_rounds=2)
        scans = Scans(*[[place] for place in places], [])
        result = sanitize(image, make_verdict(image, [(0, 0, 1, 1)]), scans, config)
        assert result.image is not None
        assert result.boxes == ((0, 0, 1, 1), *places)
        assert result.rounds == 6

    def test_new_places_without_end_end(self) -> None:
        image = plain_image()
        places: list[Box] = [(2 * i, 0, 2 * i + 1, 1) for i in range(1, 20)]
        config = SanitizeConfig(margin=0.0, max_rounds=2)
        scans = Scans(*[[place] for place in places])
        result = sanitize(image, make_verdict(image, [(0, 0, 1, 1)]), scans, config)
        assert (result.image, result.rounds) == (None, 6)

    def test_a_place_that_mostly_was_masked_is_a_failure(self) -> None:
        image = plain_image()
        scans = Scans([(5, 5, 15, 16)], [(5, 5, 15, 17)], [])
        config = SanitizeConfig(margin=0.0, max_rounds=2)
        result = sanitize(image, make_verdict(image, [self.BOX]), scans, config)
        assert (result.image, result.rounds) == (None, 2)

    def test_overlapping_boxes_count_once(self) -> None:
        image = plain_image()
        verdict = make_verdict(image, [(0, 0, 40, 15)] * 3)
        assert sanitize(image, verdict, Scans([]), EXACT).masked_fraction == 0.5

    @pytest.mark.parametrize(
        ("decision", "chosen", "config"),
        [
            ("mask", [BOX], SanitizeConfig(method="block")),
            ("block", [BOX], SanitizeConfig()),
            ("mask", [], SanitizeConfig()),
        ],
    )
    def test_blocked_at_once(
        self, decision: str, chosen: list[Box], config: SanitizeConfig
    ) -> None:
        image, scans = plain_image(), Scans([])
        verdict = replace(make_verdict(image, chosen), decision=decision)  # type: ignore[arg-type]
        result = sanitize(image, verdict, scans, config)
        assert (result.image, result.verdict.decision, scans.seen) == (None, "block", [])

    def test_a_scan_that_blocks_or_flags_nothing_nameable_blocks(self) -> None:
        image = plain_image()
        rescans: list[Callable[[CanonicalImage], Verdict]] = [
            lambda masked: make_verdict(masked, [(20, 20, 25, 25)], decision="block"),
            lambda masked: make_verdict(masked, [], decision="mask"),
        ]
        for rescan in rescans:
            result = sanitize(image, make_verdict(image, [self.BOX]), rescan)
            assert (result.image, result.rounds) == (None, 1)

    def test_the_verdict_must_be_about_this_image(self) -> None:
        verdict = make_verdict(plain_image(seed=1), [self.BOX])
        with pytest.raises(GuardError) as caught:
            sanitize(plain_image(seed=2), verdict, Scans([]))
        assert caught.value.stage == "sanitize"

    @pytest.mark.parametrize("distance", [float("nan"), float("inf")])
    @pytest.mark.parametrize("decision", ["allow", "mask"])
    def test_a_distance_that_is_no_number_is_a_fault(self, distance: float, decision: str) -> None:
        image = plain_image()
        chosen = [self.BOX] if decision == "mask" else []
        with pytest.raises(GuardError):
            sanitize(image, make_verdict(image, chosen, distance=distance), Scans([]))
        with pytest.raises(GuardError):
            sanitize(
                image,
                make_verdict(image, [self.BOX]),
                lambda masked: make_verdict(masked, chosen, distance=distance),
            )

    def test_an_error_of_the_detector_is_not_swallowed(self) -> None:
        image = plain_image()

        def broken(masked: CanonicalImage) -> Verdict:
            raise GuardError("no number", stage="detection")

        with pytest.raises(GuardError, match="no number"):
            sanitize(image, make_verdict(image, [self.BOX]), broken)

    @settings(max_examples=60, deadline=None)
    @given(
        marks=st.lists(
            st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)), max_size=4
        ),
        method=st.sampled_from(["mask", "blur", "block"]),
    )
    def test_what_comes_out_always_passes(self, marks: list[tuple[int, int]], method: str) -> None:
        pixels = plain_image(WIDTH, HEIGHT).pixels.copy()
        for x, y in marks:
            pixels[y, x] = (255, 0, 0)
        image = CanonicalImage(pixels)
        config = SanitizeConfig(method=method)
        result = sanitize(image, finds_marks(image), finds_marks, config)
        assert (result.image is None) == (result.verdict.decision == "block")
        if result.image is not None:
            assert not finds_marks(result.image).flagged
            assert result.masked_fraction <= config.max_masked_fraction

    def test_the_overlay_shows_the_final_decision(self) -> None:
        image = plain_image(200, 150)
        verdict = make_verdict(image, [(20, 20, 60, 60)])
        masked = sanitize(image, verdict, Scans([])).overlay()
        blocked = sanitize(image, verdict, Scans(), SanitizeConfig(method="block")).overlay()
        assert masked.getpixel((2, 2)) != blocked.getpixel((2, 2))
