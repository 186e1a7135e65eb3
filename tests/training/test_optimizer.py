"""Training takes the same steps on processors without bfloat16."""

import pytest
import torch
from torch import nn
from torch.optim import _muon

from training import optimizer
from training.optimizer import Optimizer


@pytest.mark.parametrize("shape", [(24, 72), (72, 24), (32, 32)])
def test_the_iteration_in_float32_is_that_of_torch(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    settings = ((3.4445, -4.7750, 2.0315), 5, 1e-7)
    expected = _muon._zeropower_via_newtonschulz(matrix, *settings).float()
    found = optimizer._orthogonal(matrix, *settings)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.02)


def test_a_step_is_the_same_with_and_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    def stepped(*, fast: bool) -> torch.Tensor:
        monkeypatch.setattr(optimizer, "fast_bfloat16", lambda device: fast)
        torch.manual_seed(1)
        hidden = nn.Linear(16, 48)
        model = nn.ModuleDict({"net": nn.ModuleDict({"layers": nn.ModuleList([hidden])})})
        steps = Optimizer(model, rate=1e-3, steps=10)
        assert len(steps.parts) == 2
        before = hidden.weight.detach().clone()
        hidden(torch.randn(64, 16)).square().sum().backward()
        steps.step()
        return hidden.weight.detach() - before

    moved = stepped(fast=False)
    assert moved.abs().max() > 0
    torch.testing.assert_close(
        moved, stepped(fast=True), rtol=0.1, atol=0.02 * moved.abs().max().item()
    )
