"""What the defences of the cost table really do: how often they ask the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from benchmarks import peers
from benchmarks.generation.models import TINY, build, build_guard

CALLS = {
    peers.ITSELF: 1,
    "GuardAlign: scan, prefix, calibration": 1,
    "a guard model of the model's size, before": 2,
    "the same, before and after": 3,
    "ECSO, answer judged harmless (2 calls)": 2,
    "ECSO, answer judged harmful (4 calls)": 4,
    "ETA-style, answer accepted": 1,
    "ETA-style, five candidates a sentence": 6,
}


@pytest.fixture(scope="module")
def made() -> Iterator[peers.Peers]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "WIDTHS", TINY)
        cpu = torch.device("cpu")
        runner = build(TINY, device=cpu, dtype=torch.float32)
        yield peers.Peers(runner, build_guard(TINY.guard, cpu), tokens=4)


def test_every_defence_is_counted(made: peers.Peers) -> None:
    assert set(made.calls()) == set(CALLS)


@pytest.mark.parametrize(("defence", "count"), CALLS.items())
def test_how_often_the_model_is_asked(
    made: peers.Peers, monkeypatch: pytest.MonkeyPatch, defence: str, count: int
) -> None:
    asked: list[object] = []
    one, many = made._runner.generate, made._runner.generate_batch

    def counting_one(messages: Any, **options: Any) -> Any:
        asked.append(messages)
        return one(messages, **options)

    def counting_many(rows: Any, **options: Any) -> Any:
        asked.extend(rows)
        return many(rows, **options)

    monkeypatch.setattr(made._runner, "generate", counting_one)
    monkeypatch.setattr(made._runner, "generate_batch", counting_many)
    made.calls()[defence]()
    assert len(asked) == count
