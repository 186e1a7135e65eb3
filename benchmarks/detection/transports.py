"""Transport problems as hard as a trained encoder's, solved by the detector's solver and by POT."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import ot
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.config import TransportConfig
from guardalign_middleware.detection import AnchorBank
from guardalign_middleware.detection.transport import (
    PackedAnchors,
    TransportResult,
    cost_matrix,
    pack_anchors,
    transport_distances,
)


class Transports:
    """The transport problems of one image: one for each concept of an anchor bank.

    The embeddings are random with the cosines of a trained CLIP, about 0.2 between a picture and
    words for what it does not show. An encoder with random weights gives nearly equal embeddings,
    and problems that are too easy.

    Args:
        bank: the anchors; only the number of words per concept matters.
        patches: number of patches.
        width: of the embeddings.
        device: of the detector's solver.
    """

    def __init__(self, bank: AnchorBank, patches: int, width: int, device: str) -> None:
        rng = torch.Generator().manual_seed(0)
        counts = [len(words) for words in (*bank.categories.values(), *bank.neutral.values())]
        common = torch.randn(width, generator=rng)

        def rows(count: int, shared: Tensor) -> Tensor:
            own = functional.normalize(torch.randn(count, width, generator=rng), dim=1)
            return functional.normalize(own + shared, dim=1).to(device)

        half = 0.5 * functional.normalize(common, dim=0)
        self.concepts = [
            rows(count, half + functional.normalize(torch.randn(width, generator=rng), dim=0))
            for count in counts
        ]
        self.patches = rows(patches, half)
        self.weights = torch.full((patches,), 1.0 / patches, dtype=torch.float64, device=device)
        self.packed: PackedAnchors = pack_anchors(self.concepts)
        self.config = TransportConfig()
        self._costs = [
            cost_matrix(self.patches.double(), words.double()[None])[0].cpu().numpy()
            for words in self.concepts
        ]

    def ours(self) -> TransportResult:
        """The detector's solver, cost matrix included; the distances end on the CPU."""
        with torch.inference_mode():
            found = transport_distances(self.patches, self.weights, self.packed, self.config)
            return replace(found, distances=found.distances.cpu())

    def pot(
        self, tolerance: float | None = None, iterations: int | None = None
    ) -> NDArray[np.float64]:
        """`ot.sinkhorn` in float64, one concept after the other, from ready costs: `[C, M]`."""
        mass = self.weights.cpu().numpy()
        rows = []
        for cost in self._costs:
            plan = ot.sinkhorn(
                mass,
                np.full(cost.shape[1], 1.0 / cost.shape[1]),
                cost,
                self.config.epsilon,
                numItermax=iterations or self.config.max_iterations,
                stopThr=tolerance or self.config.tolerance,
                warn=False,
            )
            rows.append((plan * cost).sum(axis=1) / plan.sum(axis=1))
        return np.array(rows)
