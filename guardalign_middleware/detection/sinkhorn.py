"""Solvers of entropic optimal transport: Sinkhorn for many problems at once, and POT's loop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from guardalign_middleware.config import TransportConfig
from guardalign_middleware.errors import DetectionError

_CHECK_EVERY = {"cpu": 2}
_CHECK_ELSEWHERE = 10
_NO_MASS = -1e30
# How far exp(-cost / epsilon) stays above the smallest normal number, as a power of e: the products
# of the kernel with its scalings need that room. The limit of cost / epsilon is 80 in float32.
_ROOM = 7.3


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


def sinkhorn(cost: Tensor, a: Tensor, b: Tensor, config: TransportConfig) -> TransportResult:
    """Minimise ⟨T, C⟩ − ε H(T) with marginals a and b, for G problems at once (paper eqs. 2, 8).

    Runs in the kernel domain in the cost's precision. Where the largest cost / ε is more than
    exp can express there (80 in float32, 701 in float64), or the tolerance is missed, it runs in
    the log domain in float64. Rows are scaled last, so they are exact and the columns carry the
    error. It is checked at every second iteration on a CPU, and at every tenth on a GPU, which a
    check would leave idle.

    Args:
        cost: `[G, M, N]`, finite and >= 0.
        a: float64 `[M]`, sums to 1; zeros allowed.
        b: float64 `[G, N]`, each row sums to 1; zeros allowed.
        config: ε, tolerance, iterations.

    Raises:
        DetectionError: a cost is NaN or infinite, or it has not converged.
    """
    largest = _checked_largest(cost)
    if cost.shape[-1] == 1:  # one variant: the plan is a
        return TransportResult(cost[..., 0].double(), 0.0, 0, "kernel")
    result = None
    if largest / config.epsilon <= _kernel_limit(cost.dtype):
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


def _kernel_limit(dtype: torch.dtype) -> float:
    return -math.log(torch.finfo(dtype).tiny) - _ROOM


def _checked_largest(cost: Tensor) -> float:
    largest = float(cost.detach().max())  # NaN if any cost is
    if not math.isfinite(largest):
        raise DetectionError(
            "An embedding holds NaN or infinity.",
            stage="transport",
            remedy="Check the encoder's weights and precision.",
        )
    return largest


def _kernel_domain(
    cost: Tensor, a: Tensor, b: Tensor, config: TransportConfig
) -> TransportResult | None:
    # Scalings are rows, u `[G, 1, M]` and v `[G, 1, N]`: a row times a matrix is twice as fast on a
    # CPU as a matrix times a column.
    kernel = torch.exp(cost * (-1.0 / config.epsilon))
    transposed = kernel.transpose(-1, -2)
    rows, columns = a.to(cost.dtype), b.to(cost.dtype)[:, None]
    every = _CHECK_EVERY.get(cost.device.type, _CHECK_ELSEWHERE)
    # A weight of 0 needs no special case, because all sums below are positive.
    u = rows / ((columns > 0).to(cost.dtype) @ transposed)
    sums = u @ kernel
    for iteration in range(1, config.max_iterations + 1):
        v = columns / sums
        u = rows / (v @ transposed)
        sums = u @ kernel
        if iteration % every and iteration < config.max_iterations:
            continue
        error = (v * sums - columns).abs().max().item()
        if not math.isfinite(error):
            return None
        if error <= config.tolerance:
            distances = (v @ (kernel * cost).transpose(-1, -2)) / (v @ transposed)
            if not bool(torch.isfinite(distances).all()):
                return None
            return TransportResult(distances[:, 0].double(), error, iteration, "kernel")
    return None


def _log_domain(
    cost: Tensor, a: Tensor, b: Tensor, config: TransportConfig
) -> TransportResult | None:
    scores = -cost / config.epsilon
    every = _CHECK_EVERY.get(cost.device.type, _CHECK_ELSEWHERE)
    log_a = a.log()[None, :].expand(len(cost), -1)
    # Not minus infinity, which no gradient passes through.
    log_b = torch.where(b > 0, b.log(), _NO_MASS)
    f = torch.zeros_like(log_a)
    g = torch.where(b > 0, 0.0, _NO_MASS)
    for iteration in range(1, config.max_iterations + 1):
        f = log_a - torch.logsumexp(scores + g[:, None, :], dim=-1)
        g = log_b - torch.logsumexp(scores + f[..., None], dim=-2)
        if iteration % every and iteration < config.max_iterations:
            continue
        f = log_a - torch.logsumexp(scores + g[:, None, :], dim=-1)
        plan = torch.exp(scores + f[..., None] + g[:, None, :])
        error = (plan.sum(dim=-2) - b).abs().max().item()
        if not math.isfinite(error):
            return None
        if error <= config.tolerance:
            share = torch.softmax(scores + g[:, None, :], dim=-1)
            return TransportResult((share * cost).sum(dim=-1), error, iteration, "log")
    return None


def pot(cost: Tensor, a: Tensor, b: Tensor, config: TransportConfig) -> TransportResult:
    """One `ot.sinkhorn` in float64 for each concept: the slow reference.

    With `method="sinkhorn_log"` where the largest cost / ε is more than exp can express.

    Raises:
        DetectionError: a cost is NaN or infinite, or POT has not converged.
    """
    # With it come scikit-learn and pandas: 130 MB that no other solver needs.
    import ot

    in_logs = _checked_largest(cost) / config.epsilon > _kernel_limit(torch.float64)
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
            method="sinkhorn_log" if in_logs else "sinkhorn",
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
        price = log["log_v"] if in_logs else np.log(log["v"])
        share = softmax(price.reshape(1, -1) - matrix[:, columns] / config.epsilon, axis=1)
        distances[row] = (share * matrix[:, columns]).sum(axis=1)
        error, iterations = max(error, violation), max(iterations, int(log["niter"]))
    return TransportResult(torch.from_numpy(distances).to(cost.device), error, iterations, "pot")
