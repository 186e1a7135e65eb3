"""Mask the unsafe regions of an image, and scan it again until it passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from guardalign_middleware.boxes import check_inside, coverage, grow, intersection
from guardalign_middleware.canonical import Pixels
from guardalign_middleware.config import SanitizeConfig
from guardalign_middleware.encode import Encoded, encode
from guardalign_middleware.errors import GuardError
from guardalign_middleware.overlay import draw_overlay
from guardalign_middleware.types import Box, CanonicalImage, Region, Verdict

# A mask that was not enough has to grow, even where the config asks for no margin.
_LEAST_GROWTH = 0.15
# Of the margin, and how much of each side of a region is left out: tried one after another where
# more would cover too much of the image.
_LESS = ((1.0, 0.0), (0.5, 0.0), (0.0, 0.0), (0.0, 1 / 24), (0.0, 1 / 12))
# Of the growth of a mask that was not enough, which never ends at nothing.
_LEAST_GROWTH_SHARE = 0.5
# A place is new, and masking it is progress, if less than this of it was masked before.
_NEW_PLACE = 0.5
# Scans for one allowed failure, so that new places without end do not scan without end.
_SCANS_PER_ROUND = 3
_BLUR_RADIUS = 0.35
_BOX_BYTES = 256
_DEFAULT_CONFIG = SanitizeConfig()


@dataclass(frozen=True, eq=False)
class SanitizedImage:
    """The image that a model may see, and how it was cleaned.

    Attributes:
        original: the scanned image.
        image: the cleaned image; the original itself when allowed or only observed; None when
            blocked.
        verdict: the verdict on the original, with the final decision.
        rounds: how often the image was masked and scanned again.
        masked_fraction: share of the pixels inside the masked boxes, 0 to 1.
        residual_distance: distance in the last scan; the original's when nothing was masked.
        boxes: the masked boxes, margins included; empty when allowed or blocked.
        passed: the verdict on `image`, by which it may be shown; None when blocked.
        encoder: of the guard, see `ImageGuard.encode`; None encodes with the default settings.
    """

    original: CanonicalImage
    image: CanonicalImage | None
    verdict: Verdict
    rounds: int
    masked_fraction: float
    residual_distance: float
    boxes: tuple[Box, ...] = ()
    passed: Verdict | None = None
    encoder: Callable[[CanonicalImage, Verdict | None], Encoded] | None = field(
        default=None, repr=False
    )

    def encode(self, *, original: bool = False) -> Encoded:
        """The file in which the cleaned picture leaves the guard.

        Args:
            original: the scanned picture instead, as it was before it was cleaned.

        Raises:
            ValueError: the image is blocked, and the original is not asked for.
            GuardError: stage `output`; no file within `output.max_bytes` shows the picture.
        """
        shown = self.original if original else self.image
        if shown is None:
            raise ValueError("A blocked image has no picture that may be shown.")
        passed = self.passed if shown is self.image else None
        return encode(shown) if self.encoder is None else self.encoder(shown, passed)

    def about(self, image: CanonicalImage) -> SanitizedImage:
        """The same result for an equal picture with another source, encoding or first size."""
        if image is self.original:
            return self
        shown = self.image
        if shown is not None:
            shown = image if shown is self.original else _equal(image, shown)
        return replace(self, original=image, image=shown, verdict=self.verdict.about(image))

    def overlay(self) -> Image.Image:
        """The original with the heat, the flagged regions and the final decision drawn on it."""
        return draw_overlay(self.original, self.verdict)


@dataclass(frozen=True, eq=False)
class Cleaning:
    """How an image was cleaned, without pixels; repeats it on an equal image without a scan.

    Attributes:
        verdict: as in `SanitizedImage`, like all the others.
    """

    verdict: Verdict
    rounds: int
    masked_fraction: float
    residual_distance: float
    boxes: tuple[Box, ...]
    passed: Verdict | None

    @property
    def nbytes(self) -> int:
        """Memory of the verdicts and boxes, rounded up, for caches with a bound."""
        verdicts = {id(each): each for each in (self.verdict, self.passed) if each is not None}
        held = sum(each.nbytes for each in verdicts.values())
        return held + _BOX_BYTES * (1 + len(self.boxes))

    @classmethod
    def of(cls, cleaned: SanitizedImage) -> Self:
        """How this image was cleaned."""
        return cls(
            cleaned.verdict,
            cleaned.rounds,
            cleaned.masked_fraction,
            cleaned.residual_distance,
            cleaned.boxes,
            cleaned.passed,
        )

    def repeat(
        self, image: CanonicalImage, config: SanitizeConfig = _DEFAULT_CONFIG
    ) -> SanitizedImage:
        """Clean an image whose pixels equal those of the first one, under the same config."""
        match self.verdict.decision:
            case "allow" | "observe":
                shown: CanonicalImage | None = image
            case "mask":
                shown = mask_regions(image, self.boxes, config)
            case "block":
                shown = None
        return SanitizedImage(
            image,
            shown,
            self.verdict.about(image),
            self.rounds,
            self.masked_fraction,
            self.residual_distance,
            self.boxes,
            self.passed,
        )


def mask_regions(
    image: CanonicalImage, boxes: Sequence[Box], config: SanitizeConfig = _DEFAULT_CONFIG
) -> CanonicalImage:
    """Mask or blur boxes of an image.

    With `method="mask"` every pixel inside a box equals `config.fill`. With `method="blur"` each
    box is replaced by its Gaussian blur with a radius of 0.35 times its longer side, computed from
    the box alone; a new scan has to decide whether that is enough. Every pixel outside all boxes is
    unchanged. Boxes may overlap.

    Args:
        image: the picture; it is not changed.
        boxes: half-open pixel boxes inside the picture.
        config: the method and the fill.

    Raises:
        ValueError: a box is empty or leaves the picture, or the method is `block`.
    """
    if config.method == "block":
        raise ValueError('method should be "mask" or "blur". Received "block".')
    check_inside(boxes, image.width, image.height)

    def again() -> Pixels:
        pixels = image.pixels.copy()
        for x0, y0, x1, y1 in boxes:
            inside = pixels[y0:y1, x0:x1]
            inside[:] = config.fill if config.method == "mask" else _blurred(inside)
        # Otherwise it would be copied.
        pixels.flags.writeable = False
        return pixels

    return image.with_pixels(again(), again=again)


def sanitize(
    image: CanonicalImage,
    verdict: Verdict,
    rescan: Callable[[CanonicalImage], Verdict],
    config: SanitizeConfig = _DEFAULT_CONFIG,
) -> SanitizedImage:
    """Mask the flagged regions and scan again until the image passes; otherwise block it.

    Each region is masked with a margin of `config.margin`, because a thing is often recognised by a
    part of it. A masked box that is flagged again grows by at least 15% of its longer side; a new
    place is added. Of words, the shorter side counts: the height of a line, not its length. Each
    round masks the original afresh. Where the masks would cover more than
    `config.max_masked_fraction`, what is added in this round gets half of its margin, then none,
    and is trimmed by up to a twelfth of its sides at last; whether that is enough is for the next
    scan to say.

    The image is blocked when it has not passed after `config.max_rounds` scans, when even the
    smallest masks would cover too much, when an unsafe verdict has no region to mask, when the
    verdict is `block` already, or with `method="block"`. A scan that finds something in a place
    that was not masked before does not count, but three times `config.max_rounds` scans are the
    most.

    Args:
        image: the scanned image.
        verdict: the detector's verdict on this image.
        rescan: the detector.
        config: the method and the limits.

    Raises:
        GuardError: stage `sanitize`; the verdict is about another image or was only observed, or a
            distance is not finite.
        ValueError: a region is empty or leaves the image.
    """
    if verdict.decision == "observe":
        raise GuardError(
            f"The verdict on {verdict.source} was only observed, so nothing follows from it.",
            stage="sanitize",
            remedy="Sanitize an image with a verdict of a guard in the mode enforce.",
        )
    if verdict.sha256 != image.sha256:
        raise GuardError(
            f"The verdict on {verdict.source} is not about the pixels of {image.source}.",
            stage="sanitize",
            remedy="Sanitize an image with the verdict of its own scan.",
        )
    residual = _checked_distance(verdict)
    if not verdict.flagged:
        return SanitizedImage(image, image, verdict, 0, 0.0, residual, passed=verdict)
    boxes: tuple[Box, ...] = ()
    covered = coverage(boxes, image.width, image.height)
    found = _to_mask(verdict)
    rounds = failed = 0
    fraction = 0.0
    must_block = verdict.decision == "block" or config.method == "block"
    while not must_block and found:
        check_inside([region.box for region in found], image.width, image.height)
        boxes, covered = _masks(boxes, found, covered, config)
        fraction = float(covered.mean())
        if fraction > config.max_masked_fraction:
            break
        masked = mask_regions(image, boxes, config)
        rounds += 1
        again = rescan(masked)
        residual = _checked_distance(again)
        if not again.flagged:
            final = replace(verdict, decision="mask")
            return SanitizedImage(image, masked, final, rounds, fraction, residual, boxes, again)
        found = _to_mask(again)
        failed += not any(_is_new(region.box, covered) for region in found)
        must_block = (
            again.decision == "block"
            or failed == config.max_rounds
            or rounds == _SCANS_PER_ROUND * config.max_rounds
        )
    final = replace(verdict, decision="block")
    return SanitizedImage(image, None, final, rounds, fraction, residual)


def _equal(image: CanonicalImage, shown: CanonicalImage) -> CanonicalImage:
    """The cleaned form of an equal picture, as that of this one."""
    return image.with_pixels(shown.pixels, again=lambda: shown.pixels)


def _to_mask(verdict: Verdict) -> list[Region]:
    return [region for region in verdict.regions if region.action != "flag"]


def _checked_distance(verdict: Verdict) -> float:
    if not math.isfinite(verdict.distance):
        raise GuardError(
            f"The scan of {verdict.source} gave the distance {verdict.distance}.",
            stage="sanitize",
            remedy="Check the detector; the image was not forwarded.",
        )
    return verdict.distance


def _blurred(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    radius = max(_BLUR_RADIUS * max(region.shape[:2]), 1.0)
    picture = Image.fromarray(np.ascontiguousarray(region))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)))


def _is_new(box: Box, covered: NDArray[np.bool_]) -> bool:
    x0, y0, x1, y1 = box
    return bool(covered[y0:y1, x0:x1].mean() < _NEW_PLACE)


def _masks(
    boxes: tuple[Box, ...],
    found: Sequence[Region],
    covered: NDArray[np.bool_],
    config: SanitizeConfig,
) -> tuple[tuple[Box, ...], NDArray[np.bool_]]:
    """Boxes that mask what was found too, and the pixels that they cover.

    With the largest margin with which they cover no more than allowed, or else as little as a
    region may be trimmed to.
    """
    height, width = covered.shape
    for share, trimmed in _LESS:
        trimmed_places = [replace(place, box=_trimmed(place.box, trimmed)) for place in found]
        more = _extend(boxes, trimmed_places, covered, config.margin, share)
        now = coverage(more, width, height)
        if now.mean() <= config.max_masked_fraction:
            break
    return more, now


def _trimmed(box: Box, share: float) -> Box:
    """The box without this share of its sides at each border."""
    x0, y0, x1, y1 = box
    across, down = int(share * (x1 - x0)), int(share * (y1 - y0))
    return x0 + across, y0 + down, x1 - across, y1 - down


def _extend(
    boxes: tuple[Box, ...],
    found: Sequence[Region],
    covered: NDArray[np.bool_],
    margin: float,
    share: float,
) -> tuple[Box, ...]:
    """Boxes that mask more than before: new ones added, masked ones grown."""
    height, width = covered.shape
    growth = max(margin, _LEAST_GROWTH) * max(share, _LEAST_GROWTH_SHARE)
    extended = list(boxes)
    for region in found:
        place = region.box
        x0, y0, x1, y1 = place
        # Of a line, what lies around it is measured by its letters and not by its length.
        side: Literal["longer", "shorter"] = "shorter" if region.kind == "words" else "longer"
        if not covered[y0:y1, x0:x1].all():
            extended.append(grow(place, width, height, share * margin, side))
            continue
        # The surroundings still reveal what was there: widen the mask.
        extended = [
            grow(box, width, height, growth, side) if intersection(box, place) else box
            for box in extended
        ]
    return tuple(extended)
