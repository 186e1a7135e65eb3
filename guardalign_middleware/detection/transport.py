"""Entropic optimal transport between an image's patches and every concept (paper eqs. 2, 6-9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guardalign_middleware.config import TransportConfig
from guardalign_middleware.detection.sinkhorn import TransportResult as TransportResult
from guardalign_middleware.detection.sinkhorn import pot, sinkhorn
from guardalign_middleware.errors import DetectionError

# Costs solved together. On a CPU they stay in its second cache (1 MB in float32), which makes two
# hundred concepts of fifty variants 1.3 to 2.4 times as fast as all of them together; on a GPU they
# only bound the memory. Figures: python -m benchmarks.detection.vocabulary
_COSTS_ON_CPU, _COSTS_ON_GPU = 2**18, 2**26


@dataclass(frozen=True, eq=False)
class AnchorGroup:
    """Concepts with about the same number of variants, padded to N with variants of no mass.

    N is the largest number among them, so concepts of equal size have no padding.

    Attributes:
        indices: int64 `[G]`, positions of the concepts in the bank.
        embeddings: `[G, N, D]`, unit rows; 0 where padded.
        weights: float64 `[G, N]`, marginal b (paper eq. 6), uniform over the real variants.
    """

    indices: Tensor
    embeddings: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class PackedAnchors:
    """All concepts, ready for batched transport.

    Attributes:
        groups: every concept is in exactly one group.
        means: `[C, D]`, normalised mean of each concept's variants (z̄ of paper eq. 7).
    """

    groups: tuple[AnchorGroup, ...]
    means: Tensor


def pack_anchors(anchor_embeddings: Sequence[Tensor]) -> PackedAnchors:
    """Group concepts by number of variants, rounded up to a power of two, and pad each group.

    A group is padded to its largest concept. Padding carries no mass and less than doubles a
    group's work. One concept with many variants thus does not slow down two hundred concepts with
    one variant each.

    Args:
        anchor_embeddings: for each concept, unit rows `[N_i, D]`.

    Raises:
        ValueError: no concept, or one without variants.
    """
    if not anchor_embeddings or any(len(rows) == 0 for rows in anchor_embeddings):
        raise ValueError("every concept should have at least one variant.")
    device, width = anchor_embeddings[0].device, anchor_embeddings[0].shape[1]
    members: dict[int, list[int]] = {}
    for index, rows in enumerate(anchor_embeddings):
        members.setdefault(1 << (len(rows) - 1).bit_length(), []).append(index)
    groups = []
    for _, indices in sorted(members.items()):
        size = max(len(anchor_embeddings[index]) for index in indices)
        embeddings = torch.zeros(len(indices), size, width, device=device)
        weights = torch.zeros(len(indices), size, device=device, dtype=torch.float64)
        for row, index in enumerate(indices):
            count = len(anchor_embeddings[index])
            embeddings[row, :count] = anchor_embeddings[index]
            weights[row, :count] = 1.0 / count
        groups.append(AnchorGroup(torch.tensor(indices, device=device), embeddings, weights))
    means = torch.stack([rows.mean(dim=0) for rows in anchor_embeddings])
    return PackedAnchors(tuple(groups), torch.nn.functional.normalize(means, dim=-1))


def entropy_weights(
    patch_embeddings: Tensor,
    mean_anchors: Tensor,
    *,
    logit_temperature: float,
    temperature: float,
    literal: bool = False,
) -> Tensor:
    """Patch weights from the encoder's certainty about each patch (paper eq. 7).

    p(c | m) = softmax_c(cos(x^m, z̄_c) / logit_temperature), H(m) = −Σ_c p ln p in nats, and
    a^m = softmax_m(−H(m) / temperature): certain patches get more mass, as the paper describes in
    words. `literal=True` uses the sign of the printed formula, which favours *uncertain* patches.

    Args:
        patch_embeddings: unit rows `[M, D]`.
        mean_anchors: unit rows `[C, D]`.
        logit_temperature: temperature of the class probabilities.
        temperature: temperature of the weights.
        literal: use the printed sign of eq. 7.

    Returns:
        float64 `[M]`, sums to 1.
    """
    logits = (
        patch_embeddings @ mean_anchors.to(patch_embeddings.dtype).T
    ).double() / logit_temperature
    log_p = torch.log_softmax(logits, dim=-1)
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    sign = 1.0 if literal else -1.0
    return torch.softmax(sign * entropy / temperature, dim=0)


def cost_matrix(patch_embeddings: Tensor, anchor_embeddings: Tensor) -> Tensor:
    """C(m, n) = 1 − cos(x^m, z^n) (paper eq. 8).

    Args:
        patch_embeddings: unit rows `[M, D]`.
        anchor_embeddings: unit rows `[G, N, D]`.

    Returns:
        `[G, M, N]`, in [0, 2]; in memory M comes last, because one matrix product makes them all.
    """
    groups, variants, _ = anchor_embeddings.shape
    cosines = anchor_embeddings.flatten(0, 1) @ patch_embeddings.T
    return (1.0 - cosines).clamp(0.0, 2.0).view(groups, variants, -1).transpose(-1, -2)


def transport_distances(
    patch_embeddings: Tensor, patch_weights: Tensor, anchors: PackedAnchors, config: TransportConfig
) -> TransportResult:
    """Solve one transport problem for each concept, and return patch distances per unit of mass.

    d_i(m) is the cost of patch m per unit of its own mass, and so independent of the size of a^m. A
    patch without mass gets the limit, which is its cost at the same dual prices.

    Args:
        patch_embeddings: unit rows `[M, D]`.
        patch_weights: marginal a `[M]`, >= 0; renormalised in float64.
        anchors: the concepts.
        config: ε, tolerance, iterations, solver.

    Raises:
        DetectionError: a number is NaN or infinite, or a marginal is violated by more than the
            tolerance after `max_iterations` in both domains.

    Examples:
        >>> patches = torch.eye(3)[:2]  # M = 2 patches
        >>> concepts = pack_anchors([torch.eye(3)[:1], torch.eye(3)[1:]])  # 1 and 2 variants
        >>> found = transport_distances(patches, torch.ones(2), concepts, TransportConfig())
        >>> found.distances.shape, found.solver
        (torch.Size([2, 2]), 'kernel')
        >>> found.distances[0].tolist()  # 1 − cosine to the only variant of the first concept
        [0.0, 1.0]
    """
    if not bool(torch.isfinite(patch_embeddings).all()):  # the cost would clip infinity
        raise DetectionError(
            "A patch embedding holds NaN or infinity.",
            stage="transport",
            remedy="Check the encoder's weights and precision.",
        )
    a = _checked_marginal(patch_weights)
    distances = torch.empty(
        (len(anchors.means), len(a)), dtype=torch.float64, device=patch_embeddings.device
    )
    solve = pot if config.solver == "pot" else sinkhorn
    error, iterations, solvers = 0.0, 0, {"kernel"}
    for part in _parts(anchors, patch_embeddings):
        cost = cost_matrix(patch_embeddings, part.embeddings.to(patch_embeddings.dtype))
        rows = solve(cost, a, part.weights, config)
        distances[part.indices] = rows.distances
        error, iterations = max(error, rows.marginal_error), max(iterations, rows.iterations)
        solvers.add(rows.solver)
    solver = "pot" if "pot" in solvers else "log" if "log" in solvers else "kernel"
    if not bool(torch.isfinite(distances).all()):
        raise DetectionError("The transport gave NaN or infinity.", stage="transport")
    return TransportResult(distances, error, iterations, solver)


def _parts(anchors: PackedAnchors, patch_embeddings: Tensor) -> Iterator[AnchorGroup]:
    """The groups, cut where their costs would be too many to solve together."""
    costs = _COSTS_ON_CPU if patch_embeddings.device.type == "cpu" else _COSTS_ON_GPU
    for group in anchors.groups:
        step = max(1, costs // (len(patch_embeddings) * group.embeddings.shape[1]))
        for first in range(0, len(group.indices), step):
            cut = slice(first, first + step)
            yield AnchorGroup(group.indices[cut], group.embeddings[cut], group.weights[cut])


def _checked_marginal(weights: Tensor) -> Tensor:
    mass = weights.double()
    total = mass.sum()
    if not bool(torch.isfinite(mass).all() & (mass >= 0).all() & (total > 0)):
        raise DetectionError(
            "Patch weights should be finite, >= 0 and not all 0.",
            stage="transport",
            remedy="Check the encoder's embeddings for NaN.",
        )
    return mass / total
