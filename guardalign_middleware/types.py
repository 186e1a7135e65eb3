"""The frozen values passed between the stages: image, verdict, message; see also `replies`.

They compute nothing; each one carries a result together with its evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.canonical import CanonicalImage as CanonicalImage

Box = tuple[int, int, int, int]
"""`(x0, y0, x1, y1)` in pixels of the upright image, half-open: `image[y0:y1, x0:x1]`."""

Decision = Literal["allow", "observe", "mask", "block"]
"""`observe`: the image passes because the guard only observes, whatever was found in it."""
SEVERITY: tuple[Decision, ...] = get_args(Decision)
"""Decisions from the mildest to the most severe."""
PASSES: frozenset[Decision] = frozenset({"allow", "observe"})
"""Decisions by which an image passes as it is."""
WouldBe = Literal["allow", "undecided", "mask", "block"]
"""What a guard that observes would decide; `undecided` without thresholds. Mildest first."""
WOULD_BE: tuple[WouldBe, ...] = get_args(WouldBe)
Action = Literal["mask", "block", "flag"]
"""What a region causes: it is hidden, it blocks the image, or it is only reported."""
RegionKind = Literal["picture", "words"]
"""What was found unsafe in a region: what it shows, or what words in it say."""
FormName = Literal["squashed", "native", "model"]
"""A form in which a model gets a picture; see `detection.forms`."""
Role = Literal["system", "user", "assistant", "tool"]
_VERDICT_BYTES, _REGION_BYTES, _LEVEL_BYTES = 2048, 512, 256


@dataclass(frozen=True)
class Region:
    """A part of the image that lies too near an unsafe concept, or whose words do.

    Attributes:
        box: the part.
        category: the nearest unsafe category.
        distance: of the patch that names it; low = unsafe. What it measures is in `Verdict`. For
            words, what the guard of texts gave.
        cost: the transport cost per unit mass of that patch to the category, 0 to 2, in every mode;
            0 for words.
        action: what it causes.
        kind: what was found in it.
    """

    box: Box
    category: str
    distance: float
    cost: float
    action: Action = "mask"
    kind: RegionKind = "picture"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; without the action "mask", the kind "picture" and a cost of words."""
        record = {**vars(self), "box": list(self.box)}
        if self.action == "mask":
            del record["action"]
        del record["kind" if self.kind == "picture" else "cost"]
        return record


@dataclass(frozen=True)
class WordsRead:
    """What was read in a picture, in counts.

    Attributes:
        lines: that were read.
        characters: in all of them.
        unread: lines that were found and could not be read.
        sha256: digest of the lines, joined by newlines. Of a short text it can be guessed.
        reader: fingerprint of the reader.
        text: the lines themselves, only with the setting `words.include_text`.
    """

    lines: int
    characters: int
    unread: int
    sha256: str
    reader: str
    text: tuple[str, ...] | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; without `text` unless it is to be quoted."""
        record = dict(vars(self))
        text = record.pop("text")
        return record if text is None else {**record, "text": list(text)}


@dataclass(frozen=True)
class Level:
    """The patches of one size over one form of a picture: its crops, or the tokens of its crops.

    Attributes:
        form: which form.
        frame: width and height of the form's frame, in its own pixels.
        side: of a patch, in pixels of the frame.
        size: width and height of such a patch, in pixels of the picture.
        crops: how many patches there are.
    """

    form: FormName
    frame: tuple[int, int]
    side: int
    size: tuple[float, float]
    crops: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """The basis of a decision, one row per patch of every form and view.

    Attributes:
        patch_boxes: int `[M, 4]`, in pixels of the picture, whatever form or view a patch is of.
        patch_distances: float `[M]`; low = unsafe. What they measure is in `Verdict`.
        patch_categories: nearest unsafe category of each patch, length M.
        patch_costs: float `[M]`, transport cost per unit mass to that category, 0 to 2, in every
            mode: Σ_n T_i(m,n) C_i(m,n) / a(m) of the nearest category i.
        patch_levels: int `[M]`, the level of each patch, an index into `levels`.
        levels: what was looked at, view by view and form by form, from coarse to fine.
        marginal_error: largest absolute violation of a transport marginal over all problems solved.
        iterations: Sinkhorn iterations used.
        solver: `"kernel"`, `"log"` or `"pot"`.
        encoder: fingerprint of the encoder; with two encoders, both joined by "+".
        binding: fingerprint of everything that the distances depend on: encoder, concepts, patches,
            forms, views and transport; joined like `encoder`.
        second_from: index of the second encoder's first patch; None with one encoder.
        view_seed: seed of the random views, to repeat the scan; None without random views.
        patch_thresholds: float `[M]`, of the category and form of each patch, which is unsafe when
            its distance is at most this; None before a decision.
    """

    patch_boxes: NDArray[np.int64]
    patch_distances: NDArray[np.float64]
    patch_categories: tuple[str, ...]
    patch_costs: NDArray[np.float64]
    patch_levels: NDArray[np.int64]
    levels: tuple[Level, ...]
    marginal_error: float
    iterations: int
    solver: str
    encoder: str
    view_seed: str | None = None
    patch_thresholds: NDArray[np.float64] | None = None
    binding: str = ""
    second_from: int | None = None

    @property
    def patch_forms(self) -> tuple[FormName, ...]:
        """The form that each patch is of, length M."""
        return tuple(self.levels[index].form for index in self.patch_levels.tolist())

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The arrays, one row per patch."""
        rows = (self.patch_boxes, self.patch_distances, self.patch_costs, self.patch_levels)
        return rows if self.patch_thresholds is None else (*rows, self.patch_thresholds)

    @property
    def nbytes(self) -> int:
        """Memory of the rows; equal category names are one object."""
        names = 8 * len(self.patch_categories)
        held = sum(int(array.nbytes) for array in self.arrays)
        return held + names + _LEVEL_BYTES * len(self.levels)


@dataclass(frozen=True)
class Verdict:
    """The guard's decision on one image, with the numbers behind it.

    Attributes:
        decision: `allow`, `mask` or `block`; `observe` from a guard that only observes, by which
            every image passes.
        distance: of the patch farthest below its threshold (low = unsafe); where all patches share
            one threshold, the smallest patch distance. By default it is no transport cost: see
            below.
        threshold: of that patch, which is unsafe when its distance is at most this (paper eq. 10);
            NaN where there is no threshold yet, which only a guard that observes can have.
        category: the unsafe category nearest to that patch, flagged or not; where words alone are
            unsafe, theirs.
        regions: the unsafe regions, nearest first; if allowed, only those of categories with the
            action `flag`, which are reported and stay visible.
        profile: fingerprint of the threshold profile in force; "" without one.
        width, height: size of the scanned image, in pixels.
        source: the image's source label.
        sha256: digest of the scanned pixels.
        evidence: per-patch numbers.
        fault: why the image was allowed without a scan, in words; None for every scanned image.
            Such a verdict needs the setting `on_fault="allow"`; its distance is NaN.
        scaled_from: width and height before the guard scaled the image down to scan and forward it;
            None if it did not.
        words: what was read; None where words are not read, or could not be.
        would_be: what would have been decided, for the decision `observe`; None for any other.

    The configuration decides what a distance measures. With the default `transport.contrast:
    softmax` it is the share of the neutral concepts in a softmax over the transport costs of all
    concepts, 0 to 1. With `contrast: none` it is the transport cost per unit mass to the nearest
    category, 0 to 2. With `aggregation: paper` it is the sum of paper eq. 9 over all categories,
    which shrinks as the number of patches grows.

    Raises:
        ValueError: `would_be` and the decision do not go together, or a verdict without a threshold
            has a decision other than `observe`.
    """

    decision: Decision
    distance: float
    threshold: float
    category: str
    regions: tuple[Region, ...]
    profile: str
    width: int
    height: int
    source: str
    sha256: str
    evidence: Evidence = field(repr=False, compare=False)
    fault: str | None = None
    scaled_from: tuple[int, int] | None = None
    words: WordsRead | None = None
    would_be: WouldBe | None = None

    def __post_init__(self) -> None:
        if (self.decision == "observe") != (self.would_be is not None):
            raise ValueError("would_be belongs to the decision observe, and to no other.")
        # What could not be decided must never read as allowed.
        if math.isnan(self.threshold) and self.decision != "observe":
            raise ValueError(f"Without a threshold there is no decision {self.decision!r}.")

    @property
    def flagged(self) -> bool:
        """True when something unsafe was found, and is acted upon."""
        return self.decision not in PASSES

    @property
    def decided(self) -> bool:
        """False where there is no threshold yet."""
        return not math.isnan(self.threshold)

    def about(self, image: CanonicalImage) -> Verdict:
        """The same verdict under the source and the first size of an equal picture."""
        return replace(self, source=image.source, scaled_from=image.scaled_from)

    @property
    def patch_thresholds(self) -> NDArray[np.float64]:
        """The threshold of each patch, float `[M]`: forms and categories have their own.

        All are NaN where there is none yet.
        """
        known = self.evidence.patch_thresholds
        count = len(self.evidence.patch_distances)
        return np.full(count, self.threshold) if known is None else known

    @property
    def nbytes(self) -> int:
        """Memory of the verdict with its evidence, rounded up, for caches with a bound."""
        quoted = () if self.words is None else self.words.text or ()
        held = _REGION_BYTES * len(self.regions) + sum(4 * len(line) + 64 for line in quoted)
        return _VERDICT_BYTES + held + self.evidence.nbytes

    def to_json(self) -> dict[str, Any]:
        """The public JSON object of `guardalign scan --json`, without pixels or per-patch arrays.

        A region has `box`, `category`, `distance`, `cost` and, unless it is "mask", `action`.

        For an unscanned image, the distance is null and there is one more key, `fault`. From a
        guard that observes there is `would_be`; without thresholds, `threshold` and `profile` are
        null. For an
        image that was scaled down, there is one more key, `resized`: its size now and before; and
        where words were read, `words`: how many, and their digest. A region of words has `kind`
        and no `cost`.
        """
        record: dict[str, Any] = {
            "source": self.source,
            "decision": self.decision,
            **({} if self.would_be is None else {"would_be": self.would_be}),
            "distance": self.distance if self.fault is None else None,
            "threshold": self.threshold if self.decided else None,
            "category": self.category,
            "regions": [region.to_json() for region in self.regions],
            "profile": self.profile or None,
        }
        if self.fault is not None:
            record["fault"] = self.fault
        if self.scaled_from is not None:
            sizes = ("width", "height", "from_width", "from_height")
            values = (self.width, self.height, *self.scaled_from)
            record["resized"] = dict(zip(sizes, values, strict=True))
        if self.words is not None:
            record["words"] = self.words.to_json()
        return record


@dataclass(frozen=True)
class TextPart:
    """A piece of text inside a message."""

    text: str


@dataclass(frozen=True)
class ImagePart:
    """An image inside a message, already decoded."""

    image: CanonicalImage


@dataclass(frozen=True)
class Message:
    """One turn: a role and its parts in order."""

    role: Role
    parts: tuple[TextPart | ImagePart, ...]

    @property
    def text(self) -> str:
        """All text parts, joined by a newline."""
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def images(self) -> tuple[CanonicalImage, ...]:
        """All images, in order."""
        return tuple(part.image for part in self.parts if isinstance(part, ImagePart))
