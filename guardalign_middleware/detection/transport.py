"""Entropic optimal transport between an image's patches and every concept (paper eqs. 2, 6-9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ot
import torch
from torch import Tensor

from guardalign_middleware.config import TransportConfig
from guardalign_middleware.errors import DetectionError

_CHECK_EVERY = 10
_NO_MASS = -1e30


@dataclass(frozen=True, eq=False)
class AnchorGroup:
    """Concepts with about the same number of variants, padded to N with variants of no mass.

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


@dataclass(frozen=True, eq=False)
class TransportResult:
    """Distances of all patches to all concepts.

    Attributes:
        distances: float64 `[C, M]`, d_i(m) = Σ_n T_i(m,n) C_i(m,n) / Σ_n T_i(m,n).
        marginal_error: largest absolute violation of a marginal over all concepts.
        iterations: most iterations that a concept needed.
        solver: `"kernel"`, `"log"` (when any concept fell back to it) or `"pot"`.
    """

    distances: Tensor
    marginal_error: float
    iterations: int
    solver: str


def pack_anchors(anchor_embeddings: Sequence[Tensor]) -> PackedAnchors:
    """Group concepts by number of variants, rounded up to a power of two, and pad each group.

    Padding carries no mass and at most doubles a group's work. One concept with many variants thus
    does not slow down two hundred concepts with one variant each.

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
    for size, indices in sorted(members.items()):
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
        `[G, M, N]`, in [0, 2].
    """
    return (1.0 - patch_embeddings @ anchor_embeddings.transpose(-1, -2)).clamp(0.0, 2.0)


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
    a = _checked_marginal(patch_weights)
    distances = torch.empty(
        (len(anchors.means), len(a)), dtype=torch.float64, device=patch_embeddings.device
    )
    error, iterations, solvers = 0.0, 0, {"kernel"}
    for group in anchors.groups:
        cost = cost_matrix(patch_embeddings, group.embeddings.to(patch_embeddings.dtype))
        if not bool(torch.isfinite(cost).all()):
            raise DetectionError(
                "An embedding holds NaN or infinity.",
                stage="transport",
                remedy="Check the encoder's weights and precision.",
            )
        if config.solver == "pot":
            rows = _solve_pot(cost, a, group.weights, config)
        else:
            rows = sinkhorn(cost, a, group.weights, config)
        distances[group.indices] = rows.distances
        error, iterations = max(error, rows.marginal_error), max(iterations, rows.iterations)
        solvers.add(rows.solver)
    solver = "pot" if "pot" in solvers else "log" if "log" in solvers else "kernel"
    if not bool(torch.isfinite(distances).all()):
        raise DetectionError("The transport gave NaN or infinity.", stage="transport")
    return TransportResult(distances, error, iterations, solver)


def sinkhorn(cost: Tensor, a: Tensor, b: Tensor, config: TransportConfig) -> TransportResult:
    """Minimise ⟨T, C⟩ − ε H(T) with marginals a and b, for G problems at once (paper eqs. 2, 8).

    Runs in the kernel domain in the cost's precision. Where that under- or overflows, or misses the
    tolerance, it falls back to the log domain in float64. Rows are scaled last, so they are exact
    and the columns carry the error. It is checked every tenth iteration to keep the device busy.

    Args:
        cost: `[G, M, N]`.
        a: float64 `[M]`, sums to 1; zeros allowed.
        b: float64 `[G, N]`, each row sums to 1; zeros allowed.
        config: ε, tolerance, iterations.

    Raises:
        DetectionError: not converged.
    """
    if cost.shape[-1] == 1:  # one variant: the plan is a
        return TransportResult(cost[..., 0].double(), 0.0, 0, "kernel")
    result = _kernel_domain(cost, a, b, config)
    if result is None:
        result = _log_domain(cost.double(), a, b, config)
    if result is None:
        raise DetectionError(
            f"Sinkhorn did not reach marginals within {config.tolerance} "
            f"in {config.max_iterations} iterations.",
            stage="transport",
            remedy="Raise transport.epsilon, transport.max_iterations or transport.tolerance.",
        )
    return result


def _kernel_domain(
    cost: Tensor, a: Tensor, b: Tensor, config: TransportConfig
) -> TransportResult | None:
    kernel = torch.exp(-cost / config.epsilon)
    transposed = kernel.transpose(-1, -2)
    rows = a.to(cost.dtype)[None, :, None].expand(len(cost), -1, -1)
    columns = b.to(cost.dtype)[..., None]
    v = (columns > 0).to(cost.dtype)
    u = rows / (kernel @ v)
    for iteration in range(1, config.max_iterations + 1):
        v = torch.where(columns > 0, columns / (transposed @ u), 0.0)
        u = torch.where(rows > 0, rows / (kernel @ v), 0.0)
        if iteration % _CHECK_EVERY and iteration < config.max_iterations:
            continue
        error = (v * (transposed @ u) - columns).abs().max().item()
        if not np.isfinite(error):
            return None
        if error <= config.tolerance:
            mass = kernel @ v
            distances = ((kernel * cost) @ v / mass)[..., 0].double()
            if not bool(torch.isfinite(distances).all()):
                return None
            return TransportResult(distances, error, iteration, "kernel")
    return None


def _log_domain(
    cost: Tensor, a: Tensor, b: Tensor, config: TransportConfig
) -> TransportResult | None:
    scores = -cost / config.epsilon
    log_a = a.log()[None, :].expand(len(cost), -1)
    # Not minus infinity, which no gradient passes through.
    log_b = torch.where(b > 0, b.log(), _NO_MASS)
    f = torch.zeros_like(log_a)
    g = torch.where(b > 0, 0.0, _NO_MASS)
    for iteration in range(1, config.max_iterations + 1):
        f = log_a - torch.logsumexp(scores + g[:, None, :], dim=-1)
        g = log_b - torch.logsumexp(scores + f[..., None], dim=-2)
        if iteration % _CHECK_EVERY and iteration < config.max_iterations:
            continue
        f = log_a - torch.logsumexp(scores + g[:, None, :], dim=-1)
        plan = torch.exp(scores + f[..., None] + g[:, None, :])
        error = (plan.sum(dim=-2) - b).abs().max().item()
        if not np.isfinite(error):
            return None
        if error <= config.tolerance:
            share = torch.softmax(scores + g[:, None, :], dim=-1)
            return TransportResult((share * cost).sum(dim=-1), error, iteration, "log")
    return None


def _solve_pot(cost: Tensor, a: Tensor, b: Tensor, config: TransportConfig) -> TransportResult:
    """One `ot.sinkhorn` in float64 for each concept: the slow reference."""
    costs = cost.double().cpu().numpy()
    mass, weights = a.cpu().numpy(), b.cpu().numpy()
    rows = mass > 0  # POT divides by each mass
    distances = np.empty(costs.shape[:2])
    error, iterations = 0.0, 0
    for row, matrix in enumerate(costs):
        columns = weights[row] > 0
        plan, log = ot.sinkhorn(
            mass[rows],
            weights[row][columns],
            matrix[np.ix_(rows, columns)],
            config.epsilon,
            numItermax=config.max_iterations,
            # POT measures the 2-norm of one marginal, which bounds its largest violation.
            stopThr=config.tolerance,
            warn=False,
            log=True,
        )
        violation = max(
            float(np.abs(plan.sum(axis=1) - mass[rows]).max()),
            float(np.abs(plan.sum(axis=0) - weights[row][columns]).max()),
        )
        if not violation <= config.tolerance:  # also when NaN
            raise DetectionError(
                f"POT violates a marginal by {violation} after {config.max_iterations} iterations.",
                stage="transport",
                remedy="Raise transport.epsilon or transport.max_iterations.",
            )
        # Dual prices give every patch its limit, even one without mass.
        share = np.exp(-matrix[:, columns] / config.epsilon) * log["v"].reshape(1, -1)
        distances[row] = (share * matrix[:, columns]).sum(axis=1) / share.sum(axis=1)
        error, iterations = max(error, violation), max(iterations, int(log["niter"]))
    return TransportResult(torch.from_numpy(distances).to(cost.device), error, iterations, "pot")


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
