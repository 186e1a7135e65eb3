"""The benchmark measures what it says, on a model too small for its figures to mean much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.generation import overhead
from benchmarks.generation.memory import measure_memory
from benchmarks.generation.models import TINY, build_guard, conversation
from benchmarks.generation.overhead import Plan, main, measure
from benchmarks.pages.figures import ready

CPU = torch.device("cpu")


@pytest.mark.slow
def test_every_goal_is_measured() -> None:
    plan = Plan(pairs=2, tokens=3, few_tokens=2)
    found = measure(TINY, plan, device=CPU, dtype=torch.float32)
    assert [ratio.name for ratio in found.ratios] == [
        "plain ÷ itself",
        "calibrated ÷ plain",
        "γ = 0 ÷ plain",
        "calibrated over eager attention ÷ plain",
        "guarded ÷ unguarded request",
        "one by one ÷ from 16 threads",
        "16 tasks ÷ 16 threads",
    ]
    assert all(0.0 < r.low <= r.ratio <= r.high for r in found.ratios)
    assert len(found.lines) == 10
    assert found.equal == 16
    # Milliseconds on a machine with other work are noise; nothing else may be wrong.
    assert [fault for fault in found.faults if "noisy" not in fault] == []
    assert found.memory["eager"].working_bytes > found.memory["plain"].working_bytes > 0


@pytest.mark.slow
def test_what_comes_out_fills_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "found.json"
    options = "--widths tiny --pairs 2 --tokens 2 --few-tokens 2 --out".split()
    threads = torch.get_num_threads()
    with pytest.raises(SystemExit):
        main([*options, str(out)])
    torch.set_num_threads(threads)
    monkeypatch.setattr("benchmarks.pages.figures.RESULTS", tmp_path)
    page = ready("generation_overhead", "found.json")
    assert "| calibrated ÷ plain, 2 tokens | " in page
    assert "Random weights: a decoder of 4 layers" in page
    assert ("**This run is void" in page) == bool(json.loads(out.read_text())["void"])


@pytest.mark.slow
def test_an_answer_that_depends_on_the_batch_voids_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overhead._Arms, "tasks", lambda arms: ["something else"] * 16)
    plan = Plan(pairs=2, tokens=2, few_tokens=2)
    found = measure(TINY, plan, device=CPU, dtype=torch.float32)
    assert "concurrent answers differ from those one by one" in found.faults


@pytest.mark.slow
def test_a_guard_with_random_weights_scans_and_flags_nothing() -> None:
    (turn,) = conversation(0, 64)
    verdict = build_guard("ViT-S-32-alt", CPU).scan(turn.images[0])
    assert verdict.decision == "allow"
    assert verdict.evidence is not None
    assert len(verdict.evidence.patch_boxes) > 1


def test_memory_is_counted_while_it_lives() -> None:
    weights = torch.nn.Linear(100, 100, bias=False)
    own = 100 * 100 * 4

    def call() -> None:
        for _ in range(3):
            one = torch.zeros(1000)
            two = one.view(10, 100) + 1.0
            del one, two
        _ = weights.weight.detach().t()

    found = measure_memory(call, weights)
    assert found.peak_bytes - found.working_bytes == own
    # Two at once, never six; views and weights are nothing new.
    assert found.working_bytes == 2 * 1000 * 4
    assert found.largest_numel == own // 4
