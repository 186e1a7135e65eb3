"""The meter: how near the patches of an image are to each unsafe category, to one encoder."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guardalign_middleware.config import (
    FormConfig,
    PatchConfig,
    Sight,
    TransportConfig,
    ViewName,
)
from guardalign_middleware.detection.anchor_cache import embedded_texts
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.binding import AS_IS, binding_fingerprint, binding_of
from guardalign_middleware.detection.encoder_protocol import ImageTextEncoder, WindowEncoder
from guardalign_middleware.detection.forms import ModelForms, configured_forms
from guardalign_middleware.detection.measured import PatchDistances, merge_forms
from guardalign_middleware.detection.patches import crop_patches
from guardalign_middleware.detection.plan import FormPatches, Look, view_patches
from guardalign_middleware.detection.shared_passes import encoded
from guardalign_middleware.detection.transport import (
    PackedAnchors,
    TransportResult,
    entropy_weights,
    pack_anchors,
    transport_distances,
)
from guardalign_middleware.detection.views import View, is_random, views_for
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.types import CanonicalImage, Evidence

_PATCHES_IN_FLIGHT = 1024


@dataclass(frozen=True, eq=False)
class _Anchors:
    unsafe: PackedAnchors
    all: PackedAnchors


@dataclass(frozen=True, eq=False)
class _Measured:
    """Distances, costs and nearest categories of M rows, and the transport behind them."""

    distances: NDArray[np.float64]
    costs: NDArray[np.float64]
    categories: tuple[str, ...]
    result: TransportResult


class Meter:
    """Views, forms, patches, encoder and transport of one encoder; threads may share it.

    Anchor embeddings are computed at the first image and kept.

    Args:
        encoder: embeds crops and words.
        anchors: what to look for.
        patches: how forms are cut.
        transport: how patches are measured against concepts.
        views: the views of each image.
        sees: the forms of each view.
        model_forms: what the runner's processor makes of a picture; required by the form "model".
        anchor_cache: folder in which the words' embeddings are kept; None = in memory only.

    Attributes:
        encoder: as given.
        anchors: as given.
        binding: fingerprint of each part; a threshold profile is bound to it.
        fingerprint: of all parts together; every measurement carries it.
        look: forms and crops.

    Raises:
        ConfigError: the contrast needs a neutral bank and the anchors have none, the form "model"
            is asked for without `model_forms`, or the encoder has no dense patches.
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        anchors: AnchorBank,
        patches: PatchConfig,
        transport: TransportConfig,
        views: tuple[ViewName, ...] = AS_IS,
        *,
        sees: Sequence[Sight | FormConfig] = ("any",),
        model_forms: ModelForms | None = None,
        anchor_cache: Path | None = None,
    ) -> None:
        if _contrasted(transport) and not anchors.neutral:
            raise ConfigError(
                "transport.contrast is softmax but the anchors have no neutral concepts.",
                remedy="Add a neutral bank, or set transport.contrast to none.",
            )
        if "model" in sees and model_forms is None:
            raise ConfigError(
                "detection.sees names the guarded model, but there is no processor of one.",
                remedy='Add a runner, or set detection.sees to "any".',
            )
        self.encoder = encoder
        self.anchors = anchors
        self._windows = _windows(encoder) if patches.layout == "dense" else None
        self.look = Look(
            configured_forms(sees),
            model_forms if "model" in sees else None,
            patches,
            encoder.image_size if self._windows is None else 2 * encoder.image_size,
            1 if self._windows is None else self._windows.cells,
        )
        self.transport = transport
        self.views = views
        self.binding = binding_of(
            encoder.fingerprint, anchors.fingerprint, patches, transport, views, self.look
        )
        self.fingerprint = binding_fingerprint(self.binding)
        self._anchor_cache = anchor_cache
        self._lock = threading.Lock()
        self._embedded: _Anchors | None = None

    def views_of(self, width: int, height: int, view_seed: str | None) -> tuple[View, ...]:
        """The views of a `width` × `height` picture; a random view needs `view_seed`."""
        # Only random views ask for it, and it takes a plan of the whole picture.
        stride = self.look.finest_stride(width, height) if is_random(self.views) else 1
        return views_for(self.views, width, height, stride, view_seed)

    def crop_count(self, image: CanonicalImage) -> int:
        """About how many crops a scan of the image encodes.

        Raises:
            ConfigError: even the coarsest crops are more than the budget.
        """
        return len(self.views) * self.look.crop_count(image.width, image.height)

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
            [
                form
                for view in self.views_of(image.width, image.height, view_seed)
                for form in view_patches(image, view, self.look)
            ]
            for image, view_seed in zip(images, view_seeds, strict=True)
        ]
        measured = self._measure([form for forms in cut for form in forms])
        for forms, view_seed in zip(cut, view_seeds, strict=True):
            yield merge_forms(list(islice(measured, len(forms))), view_seed)

    def patch_distances(self, embeddings: Tensor) -> Tensor:
        """Distances of the patches of one form, differentiable.

        Args:
            embeddings: unit rows `[M, D]` from the encoder.

        Returns:
            float64 `[M]`; low = unsafe.

        Raises:
            DetectionError: the transport gave no trustworthy number.
        """
        return self._transported(embeddings)[0]

    def _measure(self, forms: Sequence[FormPatches]) -> Iterator[PatchDistances]:
        first = 0
        while first < len(forms):
            last, count = first, 0
            while last < len(forms) and (last == first or count < _PATCHES_IN_FLIGHT):
                count += len(forms[last].boxes)
                last += 1
            batch = forms[first:last]
            side = self.encoder.image_size
            crops = [crop_patches(one.frame(), one.boxes, side) for one in batch]
            embeddings = self._embed(torch.cat(crops))
            cells = self.look.cells**2
            if embeddings.ndim != 2 or len(embeddings) != cells * count:
                raise DetectionError(
                    f"patch_embeddings must have shape (M, D) = ({cells * count}, D). "
                    f"Got {tuple(embeddings.shape)}.",
                    stage="encode",
                )
            rows = torch.split(embeddings, [cells * len(one.boxes) for one in batch])
            for one, row in zip(batch, rows, strict=True):
                yield self._distances(row[torch.from_numpy(one.rows).to(row.device)], one)
            first = last

    def _embed(self, crops: Tensor) -> Tensor:
        """Unit rows `[W * cells², D]`, the cells of each crop together."""
        if self._windows is None:
            return encoded(self.encoder.encode_images, crops)
        return encoded(self._windows.encode_windows, crops).flatten(0, 2)

    def measure_rows(self, embeddings: Tensor) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Distance and nearest unsafe category of each row, as if the rows were one form's patches.

        Args:
            embeddings: unit rows `[M, D]` from the encoder, of crops or of texts.

        Returns:
            Distances `[M]`, low = unsafe, and M categories.

        Raises:
            DetectionError: the transport gave no trustworthy number.
        """
        measured = self._measured(embeddings)
        return measured.distances, measured.categories

    def _distances(self, embeddings: Tensor, form: FormPatches) -> PatchDistances:
        measured = self._measured(embeddings)
        best = int(measured.distances.argmin())
        evidence = Evidence(
            patch_boxes=form.image_boxes,
            patch_distances=measured.distances,
            patch_categories=measured.categories,
            patch_costs=measured.costs,
            patch_levels=form.patch_levels,
            levels=form.levels,
            marginal_error=measured.result.marginal_error,
            iterations=measured.result.iterations,
            solver=measured.result.solver,
            encoder=self.encoder.fingerprint,
            binding=self.fingerprint,
        )
        return PatchDistances(float(measured.distances[best]), measured.categories[best], evidence)

    def _measured(self, embeddings: Tensor) -> _Measured:
        with torch.inference_mode():
            patch, result = self._transported(embeddings)
            costs, nearest = result.distances[: len(self.anchors.categories)].min(dim=0)
            values = patch.cpu().numpy()
        if not np.isfinite(values).all():
            raise DetectionError("A patch distance is NaN or infinite.", stage="transport")
        names = tuple(self.anchors.categories)
        categories = tuple(names[index] for index in nearest.tolist())
        return _Measured(values, costs.cpu().numpy(), categories, result)

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


def neutral_mass(distances: Tensor, unsafe: int, temperature: float) -> Tensor:
    """Share of the neutral concepts in softmax(−d / temperature): `[C, M]` to `[M]`.

    Summed directly and not as 1 − unsafe share, which keeps the digits of values near 0.
    """
    return torch.softmax(-distances / temperature, dim=0)[unsafe:].sum(dim=0)


def _windows(encoder: ImageTextEncoder) -> WindowEncoder:
    if not isinstance(encoder, WindowEncoder):
        raise ConfigError(
            f"patches.layout dense needs an encoder with tokens, not a {type(encoder).__name__}.",
            remedy="Set patches.layout to crops.",
        )
    return encoder


def _contrasted(transport: TransportConfig) -> bool:
    return transport.aggregation == "category" and transport.contrast == "softmax"
