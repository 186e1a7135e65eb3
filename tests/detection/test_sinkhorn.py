"""The solvers against POT in float64, where float32 can express the kernel and where it cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from guardalign_middleware.config import TransportConfig
from guardalign_middleware.detection.sinkhorn import TransportResult, pot, sinkhorn
from guardalign_middleware.errors import DetectionError

Problems = tuple[Tensor, Tensor, Tensor]
SOLVERS = {"sinkhorn": sinkhorn, "pot": pot}
EPSILONS = (0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002)
MOST_ITERATIONS = 20_000


def problems(seed: int, dtype: torch.dtype) -> Problems:
    """Costs `[2, 9, 4]` below 1.35, with both marginals; the last variant is far from most."""
    generator = torch.Generator().manual_seed(seed)
    cost = 0.85 + 0.1 * torch.rand(2, 9, 4, generator=generator).double()
    cost[:, :3, :3] -= 0.5
    cost[:, :3, 3] -= 0.1
    cost[:, 3:, 3] += 0.4
    a = 1.0 + torch.rand(9, generator=generator).double()
    return cost.to(dtype), a / a.sum(), torch.full((2, 4), 1 / 4, dtype=torch.float64)


def lacking_in_float32(seed: int) -> Problems:
    """Costs `[1, 9, 3]`; for some seeds the kernel in float32 lacks entries, and yet converges."""
    generator = torch.Generator().manual_seed(seed)
    cost = 0.3 + 1.1 * torch.rand(1, 9, 3, generator=generator).double()
    a = 1.0 + torch.rand(9, generator=generator).double()
    return cost.float(), a / a.sum(), torch.full((1, 3), 1 / 3, dtype=torch.float64)


def by_pot(problem: Problems, epsilon: float, method: str = "sinkhorn") -> NDArray[np.float64]:
    """Cost of each patch per unit of its mass, from POT's plans in float64: `[G, M]`."""
    cost, a, b = problem
    rows = []
    for matrix, weights in zip(cost.double().numpy(), b.numpy(), strict=True):
        plan = ot.sinkhorn(
            a.numpy(), weights, matrix, epsilon, method=method,
            stopThr=1e-9, numItermax=MOST_ITERATIONS,
        )  # fmt: skip
        rows.append((plan * matrix).sum(axis=1) / plan.sum(axis=1))
    return np.array(rows)


def solved(name: str, problem: Problems, epsilon: float) -> TransportResult:
    config = TransportConfig(epsilon=epsilon, tolerance=1e-7, max_iterations=MOST_ITERATIONS)
    return SOLVERS[name](*problem, config)


def difference(found: TransportResult, expected: NDArray[np.float64]) -> float:
    return float(np.abs(found.distances.numpy() - expected).max())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_every_epsilon_gives_pots_distances(
    epsilon: float, dtype: torch.dtype, solver: str
) -> None:
    problem = problems(0, dtype)
    result = solved(solver, problem, epsilon)
    assert difference(result, by_pot(problem, epsilon)) < 1e-4
    if solver == "sinkhorn":
        limit = 80 if dtype == torch.float32 else 701
        assert result.solver == ("kernel" if float(problem[0].max()) / epsilon < limit else "log")


# Wrong by 0.41, 0.12, 0.17, 0.32 and 0.18 without the log domain.
@pytest.mark.parametrize(
    ("seed", "epsilon"), [(308, 0.0125), (4, 0.0125), (98, 0.0125), (294, 0.01), (16, 0.01)]
)
def test_a_kernel_that_lacks_entries_is_not_used(seed: int, epsilon: float) -> None:
    problem = lacking_in_float32(seed)
    result = solved("sinkhorn", problem, epsilon)
    assert result.solver == "log"
    assert difference(result, by_pot(problem, epsilon)) < 1e-4


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), power=st.floats(60.0, 130.0))
def test_both_sides_of_the_limit_agree_with_pot(seed: int, power: float) -> None:
    problem = problems(seed, torch.float32)
    epsilon = float(problem[0].max()) / power
    result = solved("sinkhorn", problem, epsilon)
    assert difference(result, by_pot(problem, epsilon)) < 1e-4
    assert result.solver == "log" or power < 80.1


def test_the_largest_cost_decides_and_not_the_mean() -> None:
    problem = problems(1, torch.float32)
    problem[0][0, 0, 3] = 1.9
    assert solved("sinkhorn", problem, 1.9 / 79).solver == "kernel"
    assert solved("sinkhorn", problem, 1.9 / 81).solver == "log"


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # POT returns exp of its logs too
def test_pot_beyond_the_range_of_float64() -> None:
    problem = problems(2, torch.float64)
    problem[0][:, :, 0] += 0.5
    epsilon = float(problem[0].max()) / 800
    exact = by_pot(problem, epsilon, "sinkhorn_log")
    assert difference(solved("pot", problem, epsilon), exact) < 1e-4


@pytest.mark.parametrize("solve", SOLVERS.values())
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("variants", [1, 4])
def test_a_cost_that_is_no_number_is_an_error(
    solve: Callable[[Tensor, Tensor, Tensor, TransportConfig], TransportResult],
    bad: float,
    variants: int,
) -> None:
    cost, a, _ = problems(3, torch.float32)
    cost = cost[..., :variants].clone()
    cost[1, 2, 0] = bad
    b = torch.full((2, variants), 1 / variants, dtype=torch.float64)
    with pytest.raises(DetectionError, match="NaN or infinity"):
        solve(cost, a, b, TransportConfig())


def test_halves_that_nearly_balance_are_slow_and_still_solved_by_default() -> None:
    # Half of the patches is near each variant, but for one: the fewer differ, the slower it is.
    count = 199
    cost = torch.full((1, count, 2), 0.6)
    cost[0, : count // 2, 0] -= 0.5
    cost[0, count // 2 :, 1] -= 0.5
    a = torch.full((count,), 1 / count, dtype=torch.float64)
    config = TransportConfig(epsilon=0.03)
    found = sinkhorn(cost, a, torch.full((1, 2), 0.5, dtype=torch.float64), config)
    assert 500 < found.iterations < config.max_iterations
    assert found.marginal_error <= config.tolerance
