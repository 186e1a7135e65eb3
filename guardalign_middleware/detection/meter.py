"""The meter: how near the patches of an image are to each unsafe category, to one encoder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from guardalign_middleware.config import PatchConfig, TransportConfig, ViewName
from guardalign_middleware.detection.anchor_cache import embedded_texts
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.encoder import ImageTextEncoder
from guardalign_middleware.detection.patches import crop_patches
from guardalign_middleware.detection.transport import (
    PackedAnchors,
    TransportResult,
    entropy_weights,
    pack_anchors,
    transport_distances,
)
from guardalign_middleware.detection.views import View, ViewPatches, view_patches, views_for
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.types import CanonicalImage, Evidence

_PATCHES_IN_FLIGHT = 1024
_AS_IS: tuple[ViewName, ...] = ("as_is",)


@dataclass(frozen=True, eq=False)
class PatchDistances:
    """What one encoder measures of an image, before any threshold.

    Attributes:
        distance: the image's distance, the smallest patch distance; low = unsafe.
        category: the unsafe category nearest to that patch.
        evidence: the numbers of each patch.
    """

    distance: float
    category: str
    evidence: Evidence

    def by_category(self) -> dict[str, float]:
        """Category → smallest distance of the patches nearest to it; only categories with any."""
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


class Meter:
    """Views, patches, encoder and transport of one encoder; threads may share it.

    Anchor embeddings are computed at the first image and kept.

    Args:
        encoder: embeds crops and words.
        anchors: what to look for.
        patches: how views are cut.
        transport: how patches are measured against concepts.
        views: the views of each image.
        anchor_cache: folder in which the words' embeddings are kept; None = in memory only.

    Attributes:
        binding: fingerprint of each part; a threshold profile is bound to it.

    Raises:
        ConfigError: the contrast needs a neutral bank and the anchors have none.
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        anchors: AnchorBank,
        patches: PatchConfig,
        transport: TransportConfig,
        views: tuple[ViewName, ...] = _AS_IS,
        *,
        anchor_cache: Path | None = None,
    ) -> None:
        if _contrasted(transport) and not anchors.neutral:
            raise ConfigError(
                "transport.contrast is softmax but the anchors have no neutral concepts.",
                remedy="Add a neutral bank, or set transport.contrast to none.",
            )
        self.encoder = encoder
        self.anchors = anchors
        self.patches = patches
        self.transport = transport
        self.views = views
        self.binding = {
            "encoder": encoder.fingerprint,
            "anchors": anchors.fingerprint,
            "patches": _digest(patches.model_dump_json()),
            "transport": _digest(transport.model_dump_json()),
        }
        if views != _AS_IS:
            # Left out for `as_is`, to keep profiles valid that are older than views.
            self.binding["views"] = _digest(json.dumps(sorted(views)))
        self._anchor_cache = anchor_cache
        self._lock = threading.Lock()
        self._embedded: _Anchors | None = None

    def views_of(self, width: int, height: int, view_seed: str | None) -> tuple[View, ...]:
        """The views of a `width` × `height` picture; a random view needs `view_seed`."""
        return views_for(self.views, width, height, self.patches, view_seed)

    def distances(self, image: CanonicalImage, view_seed: str | None = None) -> PatchDistances:
        """Measure one image; `view_seed` is required when a view is random.

        Raises:
            DetectionError: encoder or transport gave no trustworthy number.
        """
        return next(self.distances_many([image], [view_seed]))

    def distances_many(
        self, images: Sequence[CanonicalImage], view_seeds: Sequence[str | None]
    ) -> Iterator[PatchDistances]:
        """Measure images one after another; their crops share encoder batches."""
        cut = [
            view_patches(image, view, self.patches)
            for image, view_seed in zip(images, view_seeds, strict=True)
            for view in self.views_of(image.width, image.height, view_seed)
        ]
        measured = self._measure(cut)
        for view_seed in view_seeds:
            yield merge_views(list(islice(measured, len(self.views))), view_seed)

    def patch_distances(self, embeddings: Tensor) -> Tensor:
        """Distances of the patches of one view, differentiable.

        Args:
            embeddings: unit rows `[M, D]` from the encoder.

        Returns:
            float64 `[M]`; low = unsafe.

        Raises:
            DetectionError: the transport gave no trustworthy number.
        """
        return self._transported(embeddings)[0]

    def _measure(self, views: Sequence[ViewPatches]) -> Iterator[PatchDistances]:
        first = 0
        while first < len(views):
            last, count = first, 0
            while last < len(views) and (last == first or count < _PATCHES_IN_FLIGHT):
                count += len(views[last].boxes)
                last += 1
            batch = views[first:last]
            side = self.encoder.image_size
            crops = [crop_patches(one.view_image(), one.boxes, side) for one in batch]
            embeddings = self.encoder.encode_images(torch.cat(crops))
            if embeddings.ndim != 2 or len(embeddings) != count:
                raise DetectionError(
                    f"patch_embeddings must have shape (M, D) = ({count}, D). "
                    f"Got {tuple(embeddings.shape)}.",
                    stage="encode",
                )
            rows = torch.split(embeddings, [len(one.boxes) for one in batch])
            for one, row in zip(batch, rows, strict=True):
                yield self._distances(row, one)
            first = last

    def _distances(self, embeddings: Tensor, view: ViewPatches) -> PatchDistances:
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
            patch_boxes=view.image_boxes,
            patch_distances=values,
            patch_categories=categories,
            marginal_error=result.marginal_error,
            iterations=result.iterations,
            solver=result.solver,
            encoder=self.encoder.fingerprint,
        )
        return PatchDistances(float(values[best]), categories[best], evidence)

    def _transported(self, embeddings: Tensor) -> tuple[Tensor, TransportResult]:
        transport = self.transport
        anchors = self._embedded_anchors()
        weights = self._patch_weights(embeddings, anchors)
        used = anchors.all if _contrasted(transport) else anchors.unsafe
        result = transport_distances(embeddings, weights, used, transport)
        unsafe = result.distances[: len(self.anchors.categories)]
        if transport.aggregation == "paper":
            return weights * unsafe.sum(dim=0), result
        if _contrasted(transport):
            temperature = transport.contrast_temperature
            return neutral_mass(result.distances, len(unsafe), temperature), result
        return unsafe.amin(dim=0), result

    def _patch_weights(self, embeddings: Tensor, anchors: _Anchors) -> Tensor:
        transport = self.transport
        if transport.patch_weights == "uniform":
            count = len(embeddings)
            return torch.full((count,), 1.0 / count, dtype=torch.float64, device=embeddings.device)
        literal = transport.aggregation == "paper"
        # The paper's probabilities cover the unsafe concepts only; "surely a dog" is sure too.
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
            if self._embedded is None:
                banks = [*self.anchors.categories.values(), *self.anchors.neutral.values()]
                texts = [text for variants in banks for text in variants]
                rows = embedded_texts(self.encoder, texts, self._anchor_cache)
                if len(rows) != len(texts) or not bool(torch.isfinite(rows).all()):
                    raise DetectionError(
                        f"anchor_embeddings must be finite with {len(texts)} rows. "
                        f"Got {tuple(rows.shape)}.",
                        stage="encode",
                    )
                # Ordinary tensors even when a scan comes first: gradients may have to pass later.
                with torch.inference_mode(False):
                    concepts = torch.split(rows.clone(), [len(variants) for variants in banks])
                    count = len(self.anchors.categories)
                    self._embedded = _Anchors(
                        pack_anchors(concepts[:count]), pack_anchors(concepts)
                    )
            return self._embedded


def merge_views(views: Sequence[PatchDistances], view_seed: str | None) -> PatchDistances:
    """Merge what one encoder measures of the views of one image.

    Args:
        views: at least one.
        view_seed: the seed of the random views; None when no view is random.
    """
    nearest = min(views, key=lambda view: view.distance)
    evidence = merge_evidence([view.evidence for view in views])
    if view_seed is not None:
        evidence = replace(evidence, view_seed=view_seed)
    return PatchDistances(nearest.distance, nearest.category, evidence)


def merge_evidence(parts: Sequence[Evidence]) -> Evidence:
    """The patches of all parts in order, and the largest marginal error and iteration count."""
    if len(parts) == 1:
        return parts[0]
    return Evidence(
        patch_boxes=np.concatenate([part.patch_boxes for part in parts]),
        patch_distances=np.concatenate([part.patch_distances for part in parts]),
        patch_categories=tuple(name for part in parts for name in part.patch_categories),
        marginal_error=max(part.marginal_error for part in parts),
        iterations=max(part.iterations for part in parts),
        solver="+".join(dict.fromkeys(part.solver for part in parts)),
        encoder="+".join(dict.fromkeys(part.encoder for part in parts)),
        view_seed=parts[0].view_seed,
    )


def neutral_mass(distances: Tensor, unsafe: int, temperature: float) -> Tensor:
    """Share of the neutral concepts in softmax(−d / temperature): `[C, M]` to `[M]`.

    Summed directly and not as 1 − unsafe share, which keeps the digits of values near 0.
    """
    return torch.softmax(-distances / temperature, dim=0)[unsafe:].sum(dim=0)


def _contrasted(transport: TransportConfig) -> bool:
    return transport.aggregation == "category" and transport.contrast == "softmax"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
