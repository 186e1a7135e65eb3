"""One picture under the guard: measured once, decided again for every position of the sliders.

Distances do not depend on thresholds, so they are kept, and the detector's own decision is taken
anew. Only cleaning encodes again, because a masked picture is another picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from guardalign_middleware.boxes import grow
from guardalign_middleware.detection import AnchorBank
from guardalign_middleware.detection.decision import verdict_from
from guardalign_middleware.detection.measured import PatchDistances
from guardalign_middleware.detection.view_seed import derived_seed
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.faults import typed_faults
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.intake.budget import request_budget
from guardalign_middleware.playground.settings import Settings
from guardalign_middleware.sanitize import SanitizedImage, sanitize
from guardalign_middleware.types import Box, CanonicalImage, Region, Verdict, WordsRead
from guardalign_middleware.words.policy import with_words


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was measured of a picture, before any threshold.

    Attributes:
        image: the picture, as the guard scans it.
        measured: by each encoder.
        words: what was read; None where the preset reads no words.
        word_regions: of unsafe words; the sliders do not move them.
    """

    image: CanonicalImage
    measured: tuple[PatchDistances, ...]
    words: WordsRead | None
    word_regions: tuple[Region, ...]


@dataclass(frozen=True)
class Probe:
    """What lies under a point of a picture: the patch that is nearest to its threshold."""

    box: Box
    category: str
    distance: float
    threshold: float


class Inspector:
    """Measures and decides with the parts of a guard; threads may share it.

    It writes no audit log and remembers no picture: what happens in a playground is no traffic.

    Args:
        guard: its detector, its words and its config are used.
        max_pixels: of one picture.

    Raises:
        ConfigError: the guard has no threshold profile.
    """

    def __init__(self, guard: ImageGuard, max_pixels: int) -> None:
        if guard.detector.profile is None:
            raise ConfigError("The playground needs a guard with a threshold profile.")
        self._guard = guard
        self._profile = guard.detector.profile
        self._max_pixels = max_pixels

    @property
    def guarantee(self) -> str:
        """What the preset's own thresholds guarantee, in words."""
        return self._profile.guarantee

    def load(self, data: bytes) -> CanonicalImage:
        """Decode a file within the limits of the preset and of one request.

        Raises:
            ImageRejected: the intake policy does not accept it, or it has several frames.
            BudgetExceeded: it has more pixels than a request may hold.
        """
        with typed_faults("intake"), request_budget(1, self._max_pixels):
            return self._guard.load(data)

    def measure(self, image: CanonicalImage, view_seed: str | None = None) -> Inspection:
        """Encode a picture and measure every patch; and read its words, where the preset does.

        Args:
            image: from `load`.
            view_seed: to repeat the random views of another scan.

        Raises:
            GuardError: the detector or the reader gave nothing that can be trusted.
        """
        with typed_faults("detection"):
            measured = self._guard.detector.distances(image, view_seed=view_seed)
        if self._guard.words is None:
            return Inspection(image, measured, None, ())
        plain = verdict_from(image, measured, self._profile, self._banks)
        read = self._guard.words.verdict(image, plain, self._guard.detector.queue)
        found = tuple(region for region in read.regions if region.kind == "words")
        return Inspection(image, measured, read.words, found)

    def verdict(self, inspection: Inspection, settings: Settings) -> Verdict:
        """The detector's decision under these settings; nothing is encoded."""
        with typed_faults("detection"):
            verdict = verdict_from(
                inspection.image, inspection.measured, settings.profile(self._profile), self._banks
            )
        return _with_words(verdict, inspection)

    def masks(self, verdict: Verdict, settings: Settings) -> tuple[Box, ...]:
        """What cleaning hides first, before it scans again; nothing is encoded."""
        if not verdict.flagged:
            return ()
        return tuple(
            grow(
                region.box,
                verdict.width,
                verdict.height,
                settings.margin,
                "shorter" if region.kind == "words" else "longer",
            )
            for region in verdict.regions
            if region.action != "flag"
        )

    def clean(self, inspection: Inspection, verdict: Verdict, settings: Settings) -> SanitizedImage:
        """The picture as a model may see it: masked, and scanned again until it passes.

        Raises:
            GuardError: the detector gave no trustworthy number, or a region cannot be masked.
        """

        def rescan(masked: CanonicalImage) -> Verdict:
            return self.verdict(self._measure_again(masked, verdict), settings)

        config = settings.sanitize(self._guard.config.sanitize)
        with typed_faults("sanitize"):
            return sanitize(inspection.image, verdict, rescan, config)

    def _measure_again(self, masked: CanonicalImage, verdict: Verdict) -> Inspection:
        seed = verdict.evidence.view_seed
        return self.measure(masked, None if seed is None else derived_seed(seed, masked))

    @property
    def _banks(self) -> list[AnchorBank]:
        return [meter.anchors for meter in self._guard.detector.meters]


def _with_words(verdict: Verdict, inspection: Inspection) -> Verdict:
    if inspection.words is None:
        return verdict
    return with_words(replace(verdict, words=inspection.words), inspection.word_regions)


def probe(verdict: Verdict, across: float, down: float) -> Probe | None:
    """What the guard measured at a point.

    Args:
        verdict: with its evidence.
        across: of the width, 0 to 1.
        down: of the height, 0 to 1.

    Returns:
        The patch over that point that is nearest to its threshold, or farthest below it; None where
        no patch lies.
    """
    x, y = across * verdict.width, down * verdict.height
    boxes, evidence = verdict.evidence.patch_boxes, verdict.evidence
    over = (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])
    if not over.any():
        return None
    shares = evidence.patch_distances / np.maximum(verdict.patch_thresholds, 1e-12)
    best = int(np.where(over, shares, np.inf).argmin())
    x0, y0, x1, y1 = boxes[best].tolist()
    return Probe(
        (x0, y0, x1, y1),
        evidence.patch_categories[best],
        float(evidence.patch_distances[best]),
        float(verdict.patch_thresholds[best]),
    )
