"""Take the unsafe regions out of an image and prove, by scanning again, that they are gone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from guardalign_middleware.config import SanitizeConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.overlay import draw_overlay
from guardalign_middleware.types import Box, CanonicalImage, Verdict

# A cover that did not suffice has to grow, also where the config asks for no margin.
_LEAST_GROWTH = 0.15
_BLUR_RADIUS = 0.35
_DEFAULT_CONFIG = SanitizeConfig()


@dataclass(frozen=True, eq=False)
class SanitizedImage:
    """The image that may be shown to a model, with what was done to get there.

    Attributes:
        original: the image as it was scanned.
        image: the cleaned image; the original itself when allowed; None when blocked.
        verdict: the verdict on the original, with the final decision.
        rounds: how often the image was masked and scanned again.
        masked_fraction: share of the pixels inside the masked boxes, 0 to 1.
        residual_distance: distance of the last scan; of the original when nothing was masked.
        boxes: the boxes that were masked, margins included; none when allowed or blocked.
    """

    original: CanonicalImage
    image: CanonicalImage | None
    verdict: Verdict
    rounds: int
    masked_fraction: float
    residual_distance: float
    boxes: tuple[Box, ...] = field(default=())

    def overlay(self) -> Image.Image:
        """The original with the heat, the flagged regions and the final decision drawn on it."""
        return draw_overlay(self.original, self.verdict)


def mask_regions(
    image: CanonicalImage, boxes: Sequence[Box], config: SanitizeConfig = _DEFAULT_CONFIG
) -> CanonicalImage:
    """Cover boxes of an image.

    With `method="mask"` every pixel inside a box equals `config.fill` afterwards, also where it did
    before. With `method="blur"` each box is replaced by its Gaussian blur with a radius of 0.35
    times its longer side, computed from the box alone; whether that was enough, a new scan decides.
    Every pixel outside all boxes stays as it was. Boxes may overlap.

    Args:
        image: the picture; it is not changed.
        boxes: half-open pixel boxes inside the picture.
        config: the method and the fill.

    Raises:
        ValueError: a box that is empty or leaves the picture, or `method="block"`.
    """
    if config.method == "block":
        raise ValueError('mask_regions covers pixels. method should be "mask" or "blur".')
    _check_boxes(boxes, image.width, image.height)
    pixels = image.pixels.copy()
    for x0, y0, x1, y1 in boxes:
        inside = pixels[y0:y1, x0:x1]
        inside[:] = config.fill if config.method == "mask" else _blurred(inside)
    return CanonicalImage(pixels, image.source)


def sanitize(
    image: CanonicalImage,
    verdict: Verdict,
    rescan: Callable[[CanonicalImage], Verdict],
    config: SanitizeConfig = _DEFAULT_CONFIG,
) -> SanitizedImage:
    """Mask the flagged regions and scan again until the image passes; otherwise block it.

    Each region is covered with a margin of `config.margin`: what was recognised by a part of it is
    larger than that part. A place that is flagged again although it is covered already is grown by
    at least 15% of its longer side; a new place is added. Each round masks the original afresh.
    The image is blocked when `config.max_rounds` scans did not pass, when more than
    `config.max_masked_fraction` of it would be covered, when the verdict is `block` already, or
    with `method="block"`.

    Args:
        image: the scanned image.
        verdict: the detector's verdict on this image.
        rescan: the detector.
        config: the method and the limits.

    Raises:
        GuardError: stage `sanitize`; the verdict is about another image, or a distance is not
            finite.
    """
    if verdict.sha256 != image.sha256:
        raise GuardError(
            f"The verdict on {verdict.source} is about other pixels than {image.source}.",
            stage="sanitize",
            remedy="Sanitize an image with the verdict of its own scan.",
        )
    residual = _checked_distance(verdict)
    if not verdict.flagged:
        return SanitizedImage(image, image, verdict, 0, 0.0, residual)
    boxes = tuple(
        _grown(box, image.width, image.height, config.margin) for box in _to_hide(verdict)
    )
    rounds = 0
    fraction = 0.0
    must_block = verdict.decision == "block" or config.method == "block" or not boxes
    while not must_block and rounds < config.max_rounds:
        covered = _cover(boxes, image)
        fraction = float(covered.mean())
        if fraction > config.max_masked_fraction:
            break
        masked = mask_regions(image, boxes, config)
        rounds += 1
        again = rescan(masked)
        residual = _checked_distance(again)
        if not again.flagged:
            final = replace(verdict, decision="mask")
            return SanitizedImage(image, masked, final, rounds, fraction, residual, boxes)
        found = _to_hide(again)
        if again.decision == "block" or not found:
            break
        growth = max(config.margin, _LEAST_GROWTH)
        boxes = _extend(boxes, found, covered, growth)
    final = replace(verdict, decision="block")
    return SanitizedImage(image, None, final, rounds, fraction, residual)


def _to_hide(verdict: Verdict) -> list[Box]:
    return [region.box for region in verdict.regions if region.action != "flag"]


def _checked_distance(verdict: Verdict) -> float:
    if not math.isfinite(verdict.distance):
        raise GuardError(
            f"The scan of {verdict.source} gave the distance {verdict.distance}.",
            stage="sanitize",
            remedy="Check the detector; the image was not forwarded.",
        )
    return verdict.distance


def _check_boxes(boxes: Sequence[Box], width: int, height: int) -> None:
    for box in boxes:
        x0, y0, x1, y1 = box
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(
                "a box should be (x0, y0, x1, y1) with 0 <= x0 < x1 <= width and "
                f"0 <= y0 < y1 <= height = {width}, {height}. Received {box}."
            )


def _blurred(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    radius = max(_BLUR_RADIUS * max(region.shape[:2]), 1.0)
    picture = Image.fromarray(np.ascontiguousarray(region))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)))


def _cover(boxes: Sequence[Box], image: CanonicalImage) -> NDArray[np.bool_]:
    """Bool `[H, W]`: which pixels lie inside any box; overlaps count once."""
    _check_boxes(boxes, image.width, image.height)
    covered = np.zeros((image.height, image.width), dtype=np.bool_)
    for x0, y0, x1, y1 in boxes:
        covered[y0:y1, x0:x1] = True
    return covered


def _extend(
    boxes: tuple[Box, ...], flagged: Sequence[Box], covered: NDArray[np.bool_], growth: float
) -> tuple[Box, ...]:
    """Boxes that cover more than before: new places added, covered ones grown."""
    height, width = covered.shape
    _check_boxes(flagged, width, height)
    extended = list(boxes)
    for x0, y0, x1, y1 in flagged:
        if not covered[y0:y1, x0:x1].all():
            extended.append((x0, y0, x1, y1))
            continue
        # What lies beside the covered place still tells what was there: widen the cover around it.
        extended = [
            _grown(box, width, height, growth) if _overlap(box, (x0, y0, x1, y1)) else box
            for box in extended
        ]
    return tuple(extended)


def _grown(box: Box, width: int, height: int, share: float) -> Box:
    """The box with a margin of a share of its longer side, inside the image."""
    x0, y0, x1, y1 = box
    margin = math.ceil(share * max(x1 - x0, y1 - y0))
    return (
        max(x0 - margin, 0),
        max(y0 - margin, 0),
        min(x1 + margin, width),
        min(y1 + margin, height),
    )


def _overlap(first: Box, second: Box) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )
