"""What a distance is in each mode, and the plain transport cost beside it, against POT's plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import ot
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.config import FormConfig, PatchConfig, TransportConfig
from guardalign_middleware.detection import AnchorBank, Meter
from guardalign_middleware.detection.transport import entropy_weights
from guardalign_middleware.types import CanonicalImage

BANK = AnchorBank(
    {"one": ("a", "b", "c"), "two": ("d", "e"), "three": ("f",)},
    {"other": ("g", "h"), "sky": ("i",)},
)
MODES: dict[str, dict[str, Any]] = {
    "contrast": {},
    "no contrast": {"contrast": "none"},
    "paper": {"aggregation": "paper"},
}


class RandomRows:
    """A random projection of the pixels; it keeps the rows that it gave."""

    image_size = 8
    fingerprint = "random rows"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._projection = torch.randn(3 * 8 * 8, 16, generator=generator)
        self._words = torch.randn(9, 16, generator=generator)
        self.images, self.texts = torch.empty(0), torch.empty(0)

    def encode_images(self, pixels: Tensor) -> Tensor:
        centred = pixels.flatten(1) - pixels.mean()
        self.images = functional.normalize(centred @ self._projection, dim=1)
        return self.images

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        self.texts = functional.normalize(self._words[: len(texts)], dim=1)
        return self.texts


def costs_by_pot(
    patches: Tensor, words: Tensor, mass: NDArray[np.float64], epsilon: float
) -> NDArray[np.float64]:
    """⟨T_i(m), C_i(m)⟩ / a(m) of every category i and patch m, from POT's plans in float64."""
    rows, first = [], 0
    for variants in BANK.categories.values():
        own = words[first : first + len(variants)].double()
        cost = 1.0 - (patches.double() @ own.T).numpy()
        share = np.full(len(variants), 1 / len(variants))
        plan = ot.sinkhorn(mass, share, cost, epsilon, stopThr=1e-12, numItermax=50_000)
        rows.append((plan * cost).sum(axis=1) / mass)
        first += len(variants)
    return np.array(rows)


@pytest.mark.parametrize("weights", ["uniform", "entropy"])
@pytest.mark.parametrize("mode", MODES)
def test_costs_are_those_of_pots_plans_per_unit_of_mass(mode: str, weights: str) -> None:
    encoder = RandomRows()
    transport = TransportConfig(patch_weights=weights, **MODES[mode])
    patches = PatchConfig(sizes=(8,), unit="pixels")
    meter = Meter(encoder, BANK, patches, transport, sees=(FormConfig(kind="native"),))
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    found = meter.distances(CanonicalImage(pixels))
    evidence, count = found.evidence, len(encoder.images)
    mass = np.full(count, 1 / count)
    if weights == "entropy":
        banks = [*BANK.categories.values(), *BANK.neutral.values()]
        if mode == "paper":
            banks = banks[: len(BANK.categories)]
        used = encoder.texts[: sum(map(len, banks))]
        parts = torch.split(used, [len(bank) for bank in banks])
        means = functional.normalize(torch.stack([part.mean(0) for part in parts]), dim=1)
        mass = entropy_weights(
            encoder.images, means, logit_temperature=transport.contrast_temperature,
            temperature=transport.entropy_temperature, literal=mode == "paper",
        ).numpy()  # fmt: skip
    costs = costs_by_pot(encoder.images, encoder.texts, mass, transport.epsilon)
    names = list(BANK.categories)
    assert evidence.patch_categories == tuple(names[index] for index in costs.argmin(axis=0))
    assert np.abs(evidence.patch_costs - costs.min(axis=0)).max() < 1e-4
    # The distance itself, in the same mode.
    if mode == "no contrast":
        assert np.array_equal(evidence.patch_distances, evidence.patch_costs)
    elif mode == "paper":
        assert np.abs(evidence.patch_distances - mass * costs.sum(axis=0)).max() < 1e-4
    else:
        assert ((evidence.patch_distances > 0) & (evidence.patch_distances < 1)).all()
        assert not np.allclose(evidence.patch_distances, evidence.patch_costs, atol=1e-2)
