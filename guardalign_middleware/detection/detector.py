"""The detector: an image in, a verdict with its evidence out."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np
import torch
from torch import Tensor

from guardalign_middleware.config import DefenceConfig, DetectionConfig, TransportConfig
from guardalign_middleware.detection.anchor_cache import embedded_texts
from guardalign_middleware.detection.anchors import AnchorBank
from guardalign_middleware.detection.cache import VerdictCache
from guardalign_middleware.detection.encoder import ImageTextEncoder, OpenClipEncoder
from guardalign_middleware.detection.judge import judge
from guardalign_middleware.detection.meter import PatchDistances, of_all_views
from guardalign_middleware.detection.patches import crop_patches
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.detection.transport import (
    PackedAnchors,
    TransportResult,
    entropy_weights,
    pack_anchors,
    transport_distances,
)
from guardalign_middleware.detection.view_seed import check_draw, draw_for
from guardalign_middleware.detection.views import Look, View, draw_views, is_random, look
from guardalign_middleware.errors import ConfigError, DetectionError
from guardalign_middleware.types import CanonicalImage, Evidence, Verdict

_PATCHES_IN_FLIGHT = 1024
_AS_IS = ("as_is",)


@dataclass(frozen=True, eq=False)
class _Anchors:
    unsafe: PackedAnchors
    all: PackedAnchors


class Detector:
    """Views, patches, encoder, transport and threshold in one; threads may share it.

    Anchor embeddings are computed at the first scan and kept. Where a view is random, what is drawn
    for a picture comes from the picture and a secret that each detector gets from the operating
    system: who knows all the rest cannot foresee it, and an equal picture gets an equal verdict.
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        anchors: AnchorBank,
        config: DetectionConfig,
        profile: ThresholdProfile | None = None,
        second: Detector | None = None,
    ) -> None:
        """Bind the parts together.

        Args:
            encoder: embeds crops and words.
            anchors: what to look for.
            config: patches, transport, views and caches; its other paths are not read.
            profile: threshold; without it only `distances` works.
            second: without a profile, which is a part of this one's; given when
                `config.defence.second` is.

        Raises:
            ConfigError: the profile belongs to other parts, the contrast needs a neutral bank and
                there is none, or one says that there is a second encoder and another does not.
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
        self.second = second
        self.binding = {
            "encoder": encoder.fingerprint,
            "anchors": anchors.fingerprint,
            "patches": _digest(config.patches.model_dump_json()),
            "transport": _digest(transport.model_dump_json()),
        }
        views = config.defence.views
        if views != _AS_IS:
            # What looks at images as they are keeps the profiles from before there were views.
            self.binding["views"] = _digest(json.dumps(sorted(views)))
        if (second is None) != (config.defence.second is None):
            raise ConfigError("A second encoder should be configured and given, or neither.")
        if second is not None and second.config.defence != DefenceConfig(views=views):
            raise ConfigError("The second encoder should look at the same views as the first.")
        if profile is not None:
            _check_profile(profile, self.members)
        self._secret = secrets.token_bytes(32)
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
        other = _second_config(config)
        second = None if other is None else cls.from_config(other)
        return cls(OpenClipEncoder.load(config.encoder), anchors, config, profile, second)

    @property
    def members(self) -> tuple[Detector, ...]:
        """This detector, and the one with the second encoder where there is one."""
        return (self,) if self.second is None else (self, self.second)

    @property
    def encoders(self) -> str:
        """Fingerprint of the encoder, as `Evidence.encoder` tells it; of two, joined."""
        return "+".join(dict.fromkeys(one.encoder.fingerprint for one in self.members))

    def scan(self, image: CanonicalImage, *, draw: str | None = None) -> Verdict:
        """Judge one image; see `scan_many`.

        Args:
            image: what to judge.
            draw: from the evidence of an earlier verdict, to look where its random views looked.
        """
        if draw is None:
            return self.scan_many([image])[0]
        check_draw(draw)
        return self._scan([image], draw)[0]

    def scan_many(self, images: Sequence[CanonicalImage]) -> list[Verdict]:
        """Judge images; their crops share encoder batches, each verdict is the image's own.

        A patch is unsafe when its distance is at most the threshold of its category (paper
        eq. 10), and an image when a patch of any of its views is, to either encoder. What happens
        to it then is the category's action: the image is to be masked, or blocked, or only
        reported.

        Raises:
            ConfigError: there is no threshold profile.
            DetectionError: encoder or transport gave no trustworthy number.
        """
        return self._scan(images, None)

    def _scan(self, images: Sequence[CanonicalImage], draw: str | None) -> list[Verdict]:
        profile = self.profile
        if profile is None:
            raise ConfigError(
                "The detector has no threshold profile.",
                remedy="Set detection.profile, or calibrate a threshold first.",
            )
        known = [self._verdicts.get(image, draw) for image in images]
        new = [image for image, verdict in zip(images, known, strict=True) if verdict is None]
        draws = self._draws(new, draw)
        banks = [one.anchors for one in self.members]
        by_member = (one._measure(new, draws) for one in self.members)
        fresh = []
        for image, *measured in zip(new, *by_member, strict=True):
            fresh.append(judge(image, measured, profile, banks))
            self._verdicts.put(fresh[-1], draw)
        rest = iter(fresh)
        return [next(rest) if verdict is None else verdict for verdict in known]

    def distances(self, image: CanonicalImage, *, draw: str | None = None) -> PatchDistances:
        """Measure one image without judging it; needs no threshold profile.

        What a second encoder measures, is asked of it: see `members`.

        Args:
            image: what to measure.
            draw: 32 hexadecimal digits, of which the random views are drawn.

        Raises:
            DetectionError: encoder or transport gave no trustworthy number.
        """
        if draw is not None:
            check_draw(draw)
        return next(self._measure([image], self._draws([image], draw)))

    def distances_many(self, images: Sequence[CanonicalImage]) -> list[PatchDistances]:
        """Measure images in shared batches; see `distances`."""
        return list(self._measure(images, self._draws(images, None)))

    def views_of(self, width: int, height: int, draw: str | None) -> tuple[View, ...]:
        """How a `width` × `height` picture is looked at; `draw` is needed when a view is random."""
        config = self.config
        return draw_views(config.defence.views, width, height, config.patches, draw)

    def _draws(self, images: Sequence[CanonicalImage], draw: str | None) -> list[str | None]:
        if not is_random(self.config.defence.views):
            return [None] * len(images)
        return [draw_for(self._secret, image) if draw is None else draw for image in images]

    def _measure(
        self, images: Sequence[CanonicalImage], draws: Sequence[str | None]
    ) -> Iterator[PatchDistances]:
        looks = [
            look(image, view, self.config.patches)
            for image, draw in zip(images, draws, strict=True)
            for view in self.views_of(image.width, image.height, draw)
        ]
        measured = self._measure_looks(looks)
        for draw in draws:
            yield of_all_views(list(islice(measured, len(self.config.defence.views))), draw)

    def _measure_looks(self, looks: Sequence[Look]) -> Iterator[PatchDistances]:
        first = 0
        while first < len(looks):
            last, count = first, 0
            while last < len(looks) and (last == first or count < _PATCHES_IN_FLIGHT):
                count += len(looks[last].boxes)
                last += 1
            side = self.encoder.image_size
            crops = [crop_patches(one.picture(), one.boxes, side) for one in looks[first:last]]
            embeddings = self.encoder.encode_images(torch.cat(crops))
            if embeddings.ndim != 2 or len(embeddings) != count:
                raise DetectionError(
                    f"patch_embeddings must have shape (M, D) = ({count}, D). "
                    f"Got {tuple(embeddings.shape)}.",
                    stage="encode",
                )
            rows = torch.split(embeddings, [len(one.boxes) for one in looks[first:last]])
            for one, row in zip(looks[first:last], rows, strict=True):
                yield self._distances(row, one)
            first = last

    def _distances(self, embeddings: Tensor, seen: Look) -> PatchDistances:
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
            patch_boxes=seen.places,
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


def _contrasted(transport: TransportConfig) -> bool:
    return transport.aggregation == "category" and transport.contrast == "softmax"


def _neutral_mass(distances: Tensor, unsafe: int, temperature: float) -> Tensor:
    """Share of the neutral concepts in softmax(−d / temperature) over all concepts, `[M]`.

    Summed directly and not as 1 − unsafe share, so values near 0 keep their digits.
    """
    return torch.softmax(-distances / temperature, dim=0)[unsafe:].sum(dim=0)


def _check_profile(profile: ThresholdProfile, members: Sequence[Detector]) -> None:
    """Refuse a threshold that was calibrated for something else.

    Raises:
        ConfigError: for other parts, other categories, or another number of encoders.
    """
    remedy = "Calibrate a new threshold for this configuration."
    if len(profile.members) != len(members):
        raise ConfigError(
            f"The threshold profile was calibrated for {len(profile.members)} encoder(s), and "
            f"{len(members)} look at the images.",
            remedy=remedy,
        )
    for own, detector in zip(profile.members, members, strict=True):
        own.check_binding(detector.binding)
        if own.by_category and set(own.by_category) != set(detector.anchors.categories):
            raise ConfigError(
                "The threshold profile has other categories than the anchors.", remedy=remedy
            )


def _second_config(config: DetectionConfig) -> DetectionConfig | None:
    """The second encoder as a detector of its own, which looks at the same views and patches."""
    second = config.defence.second
    if second is None:
        return None
    return DetectionConfig(
        encoder=second.encoder,
        anchors=second.anchors or config.anchors,
        patches=config.patches,
        transport=second.transport or config.transport,
        anchor_cache=config.anchor_cache,
        defence=DefenceConfig(views=config.defence.views),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
