"""The readings: ways to turn patch embeddings into patch distances (low = unsafe)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from guardalign_middleware.config import TransportConfig
from guardalign_middleware.detection import AnchorBank, ImageTextEncoder
from guardalign_middleware.detection.meter import neutral_mass
from guardalign_middleware.detection.transport import (
    PackedAnchors,
    entropy_weights,
    pack_anchors,
    transport_distances,
)

COSINE = "max cosine"
SOFTMAX_MEAN = "softmax of class means"
SOFTMAX_MAX = "softmax of nearest words"
PAPER_PRINTED = "paper, Eq. 7 as printed"
PAPER_SENTENCE = "paper, Eq. 7 as its sentence"
OT_PLAIN = "OT, no neutral"
OT_MARGIN = "OT, neutral margin"
OT_SOFTMAX = "OT, neutral softmax"
OT_ENTROPY = "OT, neutral softmax, entropy weights"
# A few coarse patches at a small ε converge slowly; here every problem is solved to the end.
_ITERATIONS = 50_000
READINGS = (
    COSINE,
    SOFTMAX_MEAN,
    SOFTMAX_MAX,
    PAPER_PRINTED,
    PAPER_SENTENCE,
    OT_PLAIN,
    OT_MARGIN,
    OT_SOFTMAX,
    OT_ENTROPY,
)
LITERAL = (PAPER_PRINTED, PAPER_SENTENCE)
TEMPERATURES = (0.02, 0.05, 0.1)
EPSILONS = (0.02, 0.03, 0.1, 0.3)


@dataclass(frozen=True, eq=False)
class Bank:
    """The embedded anchors, unsafe concepts first.

    Attributes:
        words: unit rows `[N, D]` of all variants of all concepts.
        concepts: int64 `[N]`, the concept of each word.
        unsafe: the unsafe concepts, packed for transport.
        all: all concepts, packed for transport.
    """

    words: Tensor
    concepts: Tensor
    unsafe: PackedAnchors
    all: PackedAnchors

    @property
    def count(self) -> int:
        """Number of unsafe categories."""
        return len(self.unsafe.means)


def embed_bank(encoder: ImageTextEncoder, anchors: AnchorBank) -> Bank:
    """Embed all anchors."""
    banks = [*anchors.categories.values(), *anchors.neutral.values()]
    rows = encoder.encode_texts([text for variants in banks for text in variants])
    concepts = torch.split(rows, [len(variants) for variants in banks])
    numbers = torch.repeat_interleave(
        torch.arange(len(banks)), torch.tensor([len(variants) for variants in banks])
    )
    unsafe = pack_anchors(concepts[: len(anchors.categories)])
    return Bank(rows, numbers, unsafe, pack_anchors(concepts))


def nearest_words(embeddings: Tensor, bank: Bank) -> Tensor:
    """1 − cosine of each patch and the nearest word of each concept, float64 `[C, M]`."""
    cost = 1.0 - (bank.words @ embeddings.T).double()
    empty = torch.full((len(bank.all.means), len(embeddings)), torch.inf, dtype=torch.float64)
    return empty.scatter_reduce(0, bank.concepts[:, None].expand_as(cost), cost, "amin")


def patch_distances(
    embeddings: Tensor, bank: Bank, config: TransportConfig
) -> tuple[Mapping[str, Tensor], int]:
    """Every reading of the same patches, float64 `[M]` each, and the number of iterations.

    Args:
        embeddings: unit rows `[M, D]`.
        bank: the embedded anchors.
        config: only ε and both temperatures are used; the readings set the rest.
    """
    config = config.model_copy(update={"max_iterations": _ITERATIONS})
    uniform = torch.full((len(embeddings),), 1.0 / len(embeddings), dtype=torch.float64)
    temperature, unsafe = config.contrast_temperature, bank.count
    with torch.inference_mode():
        result = transport_distances(embeddings, uniform, bank.all, config)
        plain = result.distances
        sure = _weights(embeddings, bank.all, config, literal=False)
        weighted = transport_distances(embeddings, sure, bank.all, config).distances
        means = 1.0 - (bank.all.means @ embeddings.T).double()
        words = nearest_words(embeddings, bank)
        nearest = plain[:unsafe].amin(dim=0)
        readings = {
            COSINE: words[:unsafe].amin(dim=0),
            SOFTMAX_MEAN: neutral_mass(means, unsafe, temperature),
            SOFTMAX_MAX: neutral_mass(words, unsafe, temperature),
            OT_PLAIN: nearest,
            OT_MARGIN: nearest - plain[unsafe:].amin(dim=0),
            OT_SOFTMAX: neutral_mass(plain, unsafe, temperature),
            OT_ENTROPY: neutral_mass(weighted, unsafe, temperature),
        }
        for name, literal in ((PAPER_PRINTED, True), (PAPER_SENTENCE, False)):
            # Paper eq. 7 has no temperature, and only unsafe classes.
            weights = _weights(embeddings, bank.unsafe, config, literal=literal, temperature=1.0)
            rows = transport_distances(embeddings, weights, bank.unsafe, config).distances
            readings[name] = weights * rows.sum(dim=0)
    return readings, result.iterations


def _weights(
    embeddings: Tensor,
    anchors: PackedAnchors,
    config: TransportConfig,
    *,
    literal: bool,
    temperature: float | None = None,
) -> Tensor:
    return entropy_weights(
        embeddings,
        anchors.means,
        logit_temperature=config.contrast_temperature,
        temperature=config.entropy_temperature if temperature is None else temperature,
        literal=literal,
    )


def swept(embeddings: Tensor, bank: Bank, config: TransportConfig) -> dict[str, float]:
    """Image distances by ε and contrast temperature, for transport and for `SOFTMAX_MAX`."""
    uniform = torch.full((len(embeddings),), 1.0 / len(embeddings), dtype=torch.float64)
    found = {}
    with torch.inference_mode():
        words = nearest_words(embeddings, bank)
        for temperature in TEMPERATURES:
            share = neutral_mass(words, bank.count, temperature)
            found[f"{SOFTMAX_MAX}, T={temperature:g}"] = float(share.min())
        for epsilon in EPSILONS:
            changed = config.model_copy(update={"epsilon": epsilon, "max_iterations": _ITERATIONS})
            rows = transport_distances(embeddings, uniform, bank.all, changed).distances
            for temperature in TEMPERATURES:
                share = neutral_mass(rows, bank.count, temperature)
                found[f"OT, ε={epsilon:g}, T={temperature:g}"] = float(share.min())
    return found
