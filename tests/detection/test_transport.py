from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.config import TransportConfig
from guardalign_middleware.detection.sinkhorn import sinkhorn
from guardalign_middleware.detection.transport import (
    cost_matrix,
    entropy_weights,
    pack_anchors,
    transport_distances,
)
from guardalign_middleware.errors import DetectionError


def _unit(generator: torch.Generator, *shape: int, spread: float = 1.0) -> Tensor:
    base = torch.ones(shape[-1]) / math.sqrt(shape[-1])
    noise = torch.randn(*shape, generator=generator) / math.sqrt(shape[-1])
    return functional.normalize(base + spread * noise, dim=-1)


def _case(
    seed: int, patches: int = 40, sizes: Sequence[int] = (1, 2, 3, 5, 8), width: int = 16
) -> tuple[Tensor, Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = _unit(generator, patches, width, spread=2.0)
    concepts = [_unit(generator, size, width, spread=2.0) for size in sizes]
    weights = torch.softmax(torch.randn(patches, generator=generator).double(), dim=0)
    return embeddings, weights, concepts


def _cost(embeddings: Tensor, concept: Tensor) -> np.ndarray:
    return (1.0 - embeddings.double() @ concept.double().T).numpy()


@pytest.mark.parametrize("solver", ["sinkhorn", "pot"])
@pytest.mark.parametrize("epsilon", [0.5, 0.1, 0.05, 0.02])
def test_distances_equal_those_of_pots_float64_sinkhorn(epsilon: float, solver: str) -> None:
    embeddings, weights, concepts = _case(0)
    config = TransportConfig(epsilon=epsilon, solver=solver, max_iterations=5000)
    result = transport_distances(embeddings, weights, pack_anchors(concepts), config)
    a = weights.numpy()
    for row, concept in zip(result.distances, concepts, strict=True):
        cost = _cost(embeddings, concept)
        b = np.full(len(concept), 1.0 / len(concept))
        plan = ot.sinkhorn(a, b, cost, epsilon, stopThr=1e-12, numItermax=100_000)
        expected = (plan * cost).sum(axis=1) / a
        assert np.abs(row.numpy() - expected).max() < 1e-5
    assert result.marginal_error <= config.tolerance


def test_a_small_epsilon_approaches_the_exact_optimum() -> None:
    embeddings, weights, concepts = _case(1, patches=12, sizes=(4, 6))
    config = TransportConfig(epsilon=0.005, max_iterations=20_000)
    result = transport_distances(embeddings, weights, pack_anchors(concepts), config)
    for row, concept in zip(result.distances, concepts, strict=True):
        b = np.full(len(concept), 1.0 / len(concept))
        exact = ot.emd2(weights.numpy(), b, _cost(embeddings, concept))
        entropic = float(row @ weights)
        assert exact - 1e-5 <= entropic <= exact + 0.005 * math.log(12 * len(concept))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), epsilon=st.sampled_from([0.3, 0.1, 0.05]))
def test_the_order_of_patches_and_anchors_does_not_matter(seed: int, epsilon: float) -> None:
    embeddings, weights, concepts = _case(seed, patches=15)
    config = TransportConfig(epsilon=epsilon, max_iterations=5000)
    result = transport_distances(embeddings, weights, pack_anchors(concepts), config)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(15, generator=generator)
    banks = torch.randperm(len(concepts), generator=generator).tolist()
    shuffled = [concepts[i][torch.randperm(len(concepts[i]), generator=generator)] for i in banks]
    other = transport_distances(embeddings[order], weights[order], pack_anchors(shuffled), config)
    assert torch.allclose(other.distances, result.distances[banks][:, order], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_concepts_do_not_influence_each_other(seed: int) -> None:
    embeddings, weights, concepts = _case(seed, patches=15, sizes=(3, 4, 4, 1))
    together = transport_distances(embeddings, weights, pack_anchors(concepts), TransportConfig())
    for row, concept in zip(together.distances, concepts, strict=True):
        alone = transport_distances(embeddings, weights, pack_anchors([concept]), TransportConfig())
        assert torch.allclose(alone.distances[0], row, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_distances_lie_between_the_smallest_and_the_largest_cost(seed: int) -> None:
    embeddings, weights, concepts = _case(seed, patches=15)
    result = transport_distances(embeddings, weights, pack_anchors(concepts), TransportConfig())
    for row, concept in zip(result.distances, concepts, strict=True):
        cost = torch.from_numpy(_cost(embeddings, concept))
        assert (row >= cost.amin(dim=1) - 1e-6).all()
        assert (row <= cost.amax(dim=1) + 1e-6).all()


def test_a_single_variant_costs_what_its_cosine_says() -> None:
    embeddings, weights, concepts = _case(2, sizes=(1, 1))
    result = transport_distances(embeddings, weights, pack_anchors(concepts), TransportConfig())
    for row, concept in zip(result.distances, concepts, strict=True):
        assert np.allclose(row.numpy(), _cost(embeddings, concept)[:, 0], atol=1e-6)


def test_a_repeated_variant_changes_nothing() -> None:
    embeddings, weights, concepts = _case(3, sizes=(2,))
    doubled = [concepts[0].repeat(3, 1)]
    once = transport_distances(embeddings, weights, pack_anchors(concepts), TransportConfig())
    thrice = transport_distances(embeddings, weights, pack_anchors(doubled), TransportConfig())
    assert torch.allclose(once.distances, thrice.distances, atol=1e-5)


@pytest.mark.parametrize("solver", ["sinkhorn", "pot"])
def test_a_patch_without_mass_gets_the_limit_and_moves_no_other(solver: str) -> None:
    embeddings, weights, concepts = _case(4)
    config = TransportConfig(solver=solver)
    bank = pack_anchors(concepts)
    zero = weights.clone()
    zero[[0, 7]] = 0.0
    tiny = weights.clone()
    tiny[[0, 7]] = 1e-13
    at_zero = transport_distances(embeddings, zero, bank, config).distances
    near = transport_distances(embeddings, tiny, bank, config).distances
    assert torch.allclose(at_zero, near, atol=1e-5)
    kept = torch.ones(len(weights), dtype=torch.bool)
    kept[[0, 7]] = False
    without = transport_distances(embeddings[kept], zero[kept], bank, config).distances
    assert torch.allclose(at_zero[:, kept], without, atol=1e-5)


def test_weights_need_not_be_normalised() -> None:
    embeddings, weights, concepts = _case(5)
    bank = pack_anchors(concepts)
    once = transport_distances(embeddings, weights, bank, TransportConfig())
    scaled = transport_distances(embeddings, (weights * 7).float(), bank, TransportConfig())
    assert torch.allclose(once.distances, scaled.distances, atol=1e-5)


def test_log_domain_takes_over_where_the_kernel_underflows() -> None:
    generator = torch.Generator().manual_seed(6)
    cost = torch.rand(2, 30, 4, generator=generator)
    cost[:, 3] += 0.9  # exp(-0.9 / 0.005) is 0 in float32: the whole row of the kernel is gone
    a, b = torch.full((30,), 1 / 30).double(), torch.full((2, 4), 0.25).double()
    config = TransportConfig(epsilon=0.005, max_iterations=20_000)
    result = sinkhorn(cost, a / a.sum(), b, config)
    assert result.solver == "log"
    for row, matrix in zip(result.distances, cost.double().numpy(), strict=True):
        plan = ot.sinkhorn(
            (a / a.sum()).numpy(), b[0].numpy(), matrix, 0.005,
            method="sinkhorn_log", stopThr=1e-10, numItermax=100_000,
        )  # fmt: skip
        assert np.abs(row.numpy() - (plan * matrix).sum(axis=1) * 30).max() < 1e-4


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_embedding_that_is_no_number_is_an_error(bad: float) -> None:
    embeddings, weights, concepts = _case(7)
    embeddings[3, 3] = bad
    with pytest.raises(DetectionError):
        transport_distances(embeddings, weights, pack_anchors(concepts), TransportConfig())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1])
@pytest.mark.parametrize("solver", ["sinkhorn", "pot"])
def test_a_weight_that_is_no_mass_is_an_error(bad: float, solver: str) -> None:
    embeddings, weights, concepts = _case(8)
    weights[3] = bad
    config = TransportConfig(solver=solver)
    with pytest.raises(DetectionError, match="finite, >= 0"):
        transport_distances(embeddings, weights, pack_anchors(concepts), config)


@pytest.mark.parametrize("solver", ["sinkhorn", "pot"])
def test_too_few_iterations_are_an_error_and_no_answer(solver: str) -> None:
    embeddings, weights, concepts = _case(9)
    config = TransportConfig(epsilon=0.01, max_iterations=2, solver=solver)
    with pytest.raises(DetectionError, match="2 iterations"):
        transport_distances(embeddings, weights, pack_anchors(concepts), config)


def test_evidence_tells_how_the_numbers_came_about() -> None:
    embeddings, weights, concepts = _case(10)
    bank = pack_anchors(concepts)
    kernel = transport_distances(embeddings, weights, bank, TransportConfig())
    pot = transport_distances(embeddings, weights, bank, TransportConfig(solver="pot"))
    assert (kernel.solver, pot.solver) == ("kernel", "pot")
    assert 0.0 < kernel.marginal_error <= 1e-6
    assert kernel.iterations >= 1


def test_cost_is_one_minus_the_cosine() -> None:
    patches = torch.eye(3)
    anchors = torch.tensor([[[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]])
    expected = torch.tensor([[[0.0, 2.0], [1.0, 1.0], [1.0, 1.0]]])
    assert torch.equal(cost_matrix(patches, anchors), expected)


def test_sure_patches_weigh_more_and_the_printed_sign_says_the_opposite() -> None:
    anchors = torch.eye(4)
    patches = functional.normalize(
        torch.tensor([[1.0, 0, 0, 0], [1.0, 1.0, 0, 0], [1.0, 1.0, 1.0, 1.0]]), dim=-1
    )
    options = {"logit_temperature": 0.1, "temperature": 0.5}
    sure = entropy_weights(patches, anchors, **options)  # type: ignore[arg-type]
    literal = entropy_weights(patches, anchors, literal=True, **options)
    assert sure[0] > sure[1] > sure[2]
    assert literal[0] < literal[1] < literal[2]
    assert float(sure.sum()) == pytest.approx(1.0, abs=1e-12)
    # The undecided patch has the entropy ln 4, the sure one about 0.
    assert float((sure[0] / sure[2]).log()) == pytest.approx(math.log(4) / 0.5, rel=2e-3)


def test_every_concept_is_packed_once_whatever_its_size() -> None:
    generator = torch.Generator().manual_seed(11)
    concepts = [_unit(generator, size, 8) for size in (3, 1, 13, 2, 4, 1)]
    packed = pack_anchors(concepts)
    assert sorted(torch.cat([group.indices for group in packed.groups]).tolist()) == list(range(6))
    for group in packed.groups:
        assert torch.allclose(group.weights.sum(dim=1), torch.ones(len(group.indices)).double())
        for row, index in enumerate(group.indices.tolist()):
            assert torch.equal(group.embeddings[row, : len(concepts[index])], concepts[index])
            assert int((group.weights[row] > 0).sum()) == len(concepts[index])


def test_an_empty_concept_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one variant"):
        pack_anchors([torch.eye(3), torch.zeros(0, 3)])
