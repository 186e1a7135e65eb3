"""The detector: an image in, a verdict with its evidence out."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guardalign_middleware.config import DetectionConfig, TransportConfig
from guardalign_middleware.detection.anchor_cache import embedded_texts
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.cache import VerdictCache
from guardalign_middleware.detection.encoder import ImageTextEncoder, OpenClipEncoder
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.detection.regions import find_regions
from guardalign_middleware.detection.threshold import ThresholdProfile
from guardalign_middleware.detection.transport import (
    PackedAnchors,
    TransportResult,
    entropy_weights,
    pack_anchors,
    transport_distances,
)
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.types import Action, CanonicalImage, Evidence, Region, Verdict

_PATCHES_IN_FLIGHT = 1024
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True, eq=False)
class PatchDistances:
    """What a detector measures of an image, before any threshold.

    Attributes:
        distance: the image's distance, the smallest patch distance; low = unsafe.
        category: the unsafe category nearest to the nearest patch.
        evidence: the numbers of each patch.
    """

    distance: float
    category: str
    evidence: Evidence

    def by_category(self) -> dict[str, float]:
        """Smallest distance of the patches nearest to each category; without those of none."""
        nearest: dict[str, float] = {}
        for name, value in zip(
            self.evidence.patch_categories, self.evidence.patch_distances.tolist(), strict=True
        ):
            nearest[name] = min(value, nearest.get(name, value))
        return nearest


@dataclass(frozen=True, eq=False)
class _Anchors:
    unsafe: PackedAnchors
    all: PackedAnchors


class Detector:
    """Patches, encoder, transport and threshold in one; threads may share it.

    Anchor embeddings are computed at the first scan and kept.
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        anchors: AnchorBank,
        config: DetectionConfig,
        profile: ThresholdProfile | None = None,
    ) -> None:
        """Bind the parts together.

        Args:
            encoder: embeds crops and words.
            anchors: what to look for.
            config: patches, transport and caches; its other paths are not read.
            profile: threshold; without it only `distances` works.

        Raises:
            ConfigError: the profile belongs to other parts, or the contrast needs a neutral bank
                and there is none.
        """
        transport = config.transport
        if _contrasted(transport) and not anchors.neutral:
            raise ConfigError(
                "transport.contrast is softmax but the anchors have no neutral concepts.",
                remedy="Add a neutral bank, or set transport.contrast to none.",
            )
        self.encoder = encoder
        self.anchors = anchors
        self.config = config
        self.profile = profile
        self.binding = {
            "encoder": encoder.fingerprint,
            "anchors": anchors.fingerprint,
            "patches": _digest(config.patches.model_dump_json()),
            "transport": _digest(transport.model_dump_json()),
        }
        if profile is not None:
            profile.check_binding(self.binding)
            if profile.by_category and set(profile.by_category) != set(anchors.categories):
                raise ConfigError(
                    "The threshold profile has other categories than the anchors.",
                    remedy="Calibrate a new threshold for this configuration.",
                )
        self._verdicts = VerdictCache(config.remembered_verdicts)
        self._lock = threading.Lock()
        self._cached: _Anchors | None = None

    @classmethod
    def from_config(cls, config: DetectionConfig) -> Self:
        """Load encoder, anchors and, where configured, the threshold profile.

        Raises:
            ModelLoadError: the encoder cannot be loaded.
            ConfigError: anchors or profile are wrong or do not belong together.
        """
        anchors = AnchorBank.load(config.anchors)
        profile = None if config.profile is None else ThresholdProfile.load(config.profile)
        return cls(OpenClipEncoder.load(config.encoder), anchors, config, profile)

    def scan(self, image: CanonicalImage) -> Verdict:
        """Judge one image; see `scan_many`."""
        return self.scan_many([image])[0]

    def scan_many(self, images: Sequence[CanonicalImage]) -> list[Verdict]:
        """Judge images; their crops share encoder batches, each verdict is the image's own.

        A patch is unsafe when its distance is at most the threshold of its category (paper
        eq. 10). What happens to an image with an unsafe patch is the category's action: the image
        is to be masked, or blocked, or only reported. The distance, category and threshold of a
        verdict are those of the patch that is farthest below its threshold.

        Raises:
            ConfigError: there is no threshold profile.
            DetectionError: encoder or transport gave no trustworthy number.
        """
        profile = self.profile
        if profile is None:
            raise ConfigError(
                "The detector has no threshold profile.",
                remedy="Set detection.profile, or calibrate a threshold first.",
            )
        known = [self._verdicts.get(image) for image in images]
        new = [image for image, verdict in zip(images, known, strict=True) if verdict is None]
        fresh = []
        for image, measured in zip(new, self._measure(new), strict=True):
            fresh.append(self._verdict(image, measured, profile))
            self._verdicts.put(fresh[-1])
        rest = iter(fresh)
        return [next(rest) if verdict is None else verdict for verdict in known]

    def distances(self, image: CanonicalImage) -> PatchDistances:
        """Measure one image without judging it; needs no threshold profile.

        Raises:
            DetectionError: encoder or transport gave no trustworthy number.
        """
        return next(self._measure([image]))

    def distances_many(self, images: Sequence[CanonicalImage]) -> list[PatchDistances]:
        """Measure images in shared batches; see `distances`."""
        return list(self._measure(images))

    def _measure(self, images: Sequence[CanonicalImage]) -> Iterator[PatchDistances]:
        boxes = [patch_boxes(i.width, i.height, self.config.patches) for i in images]
        first = 0
        while first < len(images):
            last, count = first, 0
            while last < len(images) and (last == first or count < _PATCHES_IN_FLIGHT):
                count += len(boxes[last])
                last += 1
            side = self.encoder.image_size
            crops = [crop_patches(images[i], boxes[i], side) for i in range(first, last)]
            embeddings = self.encoder.encode_images(torch.cat(crops))
            if embeddings.ndim != 2 or len(embeddings) != count:
                raise DetectionError(
                    f"patch_embeddings must have shape (M, D) = ({count}, D). "
                    f"Got {tuple(embeddings.shape)}.",
                    stage="encode",
                )
            rows = torch.split(embeddings, [len(b) for b in boxes[first:last]])
            for index, row in zip(range(first, last), rows, strict=True):
                yield self._distances(row, boxes[index])
            first = last

    def _distances(self, embeddings: Tensor, boxes: NDArray[np.int64]) -> PatchDistances:
        with torch.inference_mode():
            patch, result = self._transported(embeddings)
            unsafe = result.distances[: len(self.anchors.categories)]
            nearest = unsafe.argmin(dim=0).tolist()
            values = patch.cpu().numpy()
        if not np.isfinite(values).all():
            raise DetectionError("A patch distance is NaN or infinite.", stage="transport")
        names = tuple(self.anchors.categories)
        categories = tuple(names[index] for index in nearest)
        best = int(values.argmin())
        evidence = Evidence(
            patch_boxes=boxes,
            patch_distances=values,
            patch_categories=categories,
            marginal_error=result.marginal_error,
            iterations=result.iterations,
            solver=result.solver,
            encoder=self.encoder.fingerprint,
        )
        return PatchDistances(float(values[best]), categories[best], evidence)

    def patch_distances(self, embeddings: Tensor) -> Tensor:
        """Distances of the patches of one image, through which a gradient flows back.

        Args:
            embeddings: unit rows `[M, D]` from the encoder.

        Returns:
            float64 `[M]`; low = unsafe.

        Raises:
            DetectionError: the transport gave no trustworthy number.
        """
        return self._transported(embeddings)[0]

    def _transported(self, embeddings: Tensor) -> tuple[Tensor, TransportResult]:
        transport = self.config.transport
        anchors = self._embedded_anchors()
        weights = self._patch_weights(embeddings, anchors)
        used = anchors.all if _contrasted(transport) else anchors.unsafe
        result = transport_distances(embeddings, weights, used, transport)
        unsafe = result.distances[: len(self.anchors.categories)]
        if transport.aggregation == "paper":
            return weights * unsafe.sum(dim=0), result
        if _contrasted(transport):
            temperature = transport.contrast_temperature
            return _neutral_mass(result.distances, len(unsafe), temperature), result
        return unsafe.amin(dim=0), result

    def _patch_weights(self, embeddings: Tensor, anchors: _Anchors) -> Tensor:
        transport = self.config.transport
        if transport.patch_weights == "uniform":
            count = len(embeddings)
            return torch.full((count,), 1.0 / count, dtype=torch.float64, device=embeddings.device)
        literal = transport.aggregation == "paper"
        # The paper's probabilities run over the unsafe concepts only; sure of "dog" is sure too.
        means = anchors.unsafe.means if literal else anchors.all.means
        return entropy_weights(
            embeddings,
            means,
            logit_temperature=transport.contrast_temperature,
            temperature=transport.entropy_temperature,
            literal=literal,
        )

    def _embedded_anchors(self) -> _Anchors:
        with self._lock:
            if self._cached is None:
                banks = [*self.anchors.categories.values(), *self.anchors.neutral.values()]
                texts = [text for variants in banks for text in variants]
                rows = embedded_texts(self.encoder, texts, self.config.anchor_cache)
                if len(rows) != len(texts) or not bool(torch.isfinite(rows).all()):
                    raise DetectionError(
                        f"anchor_embeddings must be finite with {len(texts)} rows. "
                        f"Got {tuple(rows.shape)}.",
                        stage="encode",
                    )
                # Ordinary tensors also when the first scan asks, so that gradients can pass later.
                with torch.inference_mode(False):
                    concepts = torch.split(rows.clone(), [len(variants) for variants in banks])
                    count = len(self.anchors.categories)
                    self._cached = _Anchors(pack_anchors(concepts[:count]), pack_anchors(concepts))
            return self._cached

    def _verdict(
        self, image: CanonicalImage, measured: PatchDistances, profile: ThresholdProfile
    ) -> Verdict:
        evidence = measured.evidence
        distances, categories = evidence.patch_distances, evidence.patch_categories
        thresholds = np.array([profile.threshold_of(name) for name in categories])
        regions = self._regions(evidence, thresholds)
        actions = {region.action for region in regions}
        worst = int((distances - thresholds).argmin())
        return Verdict(
            decision="block" if "block" in actions else "mask" if "mask" in actions else "allow",
            distance=float(distances[worst]),
            threshold=float(thresholds[worst]),
            category=categories[worst],
            regions=regions,
            profile=profile.fingerprint,
            width=image.width,
            height=image.height,
            source=image.source,
            sha256=image.sha256,
            evidence=evidence,
        )

    def _regions(self, evidence: Evidence, thresholds: NDArray[np.float64]) -> tuple[Region, ...]:
        """Regions action by action: what is only reported never hides what is to be masked."""
        actions = np.array([self.anchors.action(name) for name in evidence.patch_categories])
        found = [
            replace(region, action=action)
            for action in ACTIONS
            for region in find_regions(
                evidence.patch_boxes,
                evidence.patch_distances,
                evidence.patch_categories,
                np.where(actions == action, thresholds, -np.inf),
            )
        ]
        return tuple(sorted(found, key=lambda region: (region.distance, region.box)))


def _contrasted(transport: TransportConfig) -> bool:
    return transport.aggregation == "category" and transport.contrast == "softmax"


def _neutral_mass(distances: Tensor, unsafe: int, temperature: float) -> Tensor:
    """Share of the neutral concepts in softmax(−d / temperature) over all concepts, `[M]`.

    Summed directly and not as 1 − unsafe share, so values near 0 keep their digits.
    """
    return torch.softmax(-distances / temperature, dim=0)[unsafe:].sum(dim=0)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
