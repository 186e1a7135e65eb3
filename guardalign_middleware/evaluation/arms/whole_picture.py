"""CLIP over the whole picture at once, as earlier guards look at it."""

from __future__ import annotations

import numpy as np
import torch

from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.patches import crop_patches
from guardalign_middleware.types import CanonicalImage


class WholePicture:
    """The detector's own encoder and concepts, applied to one crop: the squashed picture."""

    def __init__(self, detector: Detector) -> None:
        meter = detector.meters[0]
        anchors = meter.anchors
        banks = [*anchors.categories.values(), *anchors.neutral.values()]
        self._encoder = meter.encoder
        rows = self._encoder.encode_texts([text for bank in banks for text in bank])
        parts = torch.split(rows, [len(bank) for bank in banks])
        means = [part.mean(dim=0) for part in parts]
        self._means = torch.nn.functional.normalize(torch.stack(means), dim=-1)
        self._unsafe = len(anchors.categories)
        self._temperature = meter.transport.contrast_temperature

    def distance(self, image: CanonicalImage) -> float:
        """Share of the neutral concepts in a softmax over the cosines; low = unsafe."""
        logits = self._cosines(image) / self._temperature
        return float(torch.softmax(logits, dim=-1)[self._unsafe :].sum())

    def similarity(self, image: CanonicalImage) -> float:
        """The largest cosine to an unsafe concept; high = unsafe."""
        return float(self._cosines(image)[: self._unsafe].max())

    def _cosines(self, image: CanonicalImage) -> torch.Tensor:
        side = min(image.width, image.height)
        squashed = image.to_pil().resize((side, side))
        box = np.array([[0, 0, side, side]])
        crop = crop_patches(CanonicalImage(np.asarray(squashed)), box, self._encoder.image_size)
        return (self._encoder.encode_images(crop) @ self._means.T)[0]
