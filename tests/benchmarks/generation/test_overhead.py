"""The benchmark measures what it says, on a model too small for its figures to mean much."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from benchmarks.generation import overhead
from benchmarks.generation.memory import measure_memory
from benchmarks.generation.models import TINY, build, build_guard, conversation
from benchmarks.generation.overhead import Arms, Found, main, measure_with
from benchmarks.generation.plan import Plan
from benchmarks.pages.figures import ready
from guardalign_middleware.guard import GuardAlign

CPU = torch.device("cpu")
PLAN = Plan(pairs=2, crowds=1, tokens=3, few_tokens=2, requests=3, wait_ms=5.0)


@pytest.fixture(scope="module")
def arms() -> Arms:
    runner = build(
        TINY,
        device=CPU,
        dtype=torch.float32,
        calibration={"gamma": PLAN.gamma},
        max_wait_ms=PLAN.wait_ms,
    )
    return Arms(runner, GuardAlign(build_guard("mini", CPU), runner), TINY.image_size, PLAN)


@pytest.fixture(scope="module")
def found(arms: Arms) -> Found:
    return measure_with(arms.runner, arms.chain, TINY, PLAN)


def test_every_goal_is_measured(found: Found) -> None:
    assert [ratio.name for ratio in found.ratios] == [
        "plain ÷ itself",
        "calibrated ÷ plain",
        "γ = 0 ÷ plain",
        "calibrated over eager attention ÷ plain",
        "guarded ÷ unguarded request",
        "one by one ÷ from 3 threads",
        "3 tasks ÷ 3 threads",
    ]
    assert all(0.0 < r.low <= r.ratio <= r.high for r in found.ratios)
    assert len(found.lines) == 10
    assert found.equal == 3
    # Milliseconds on a machine with other work are noise; nothing else may be wrong.
    assert [fault for fault in found.faults if "noisy" not in fault] == []
    assert found.memory["eager"].working_bytes > found.memory["plain"].working_bytes > 0


@pytest.mark.parametrize("fault", ["the plain arm differs from itself", ""])
def test_the_command_fills_a_page(
    found: Found, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def measured(widths: Any, plan: Plan, **options: Any) -> Found:
        asked.append((widths, plan, options["dtype"]))
        return replace(found, faults=(fault,) if fault else ())

    monkeypatch.setattr(overhead, "measure", measured)
    monkeypatch.setattr("benchmarks.pages.figures.RESULTS", tmp_path)
    out, threads = tmp_path / "found.json", torch.get_num_threads()
    with pytest.raises(SystemExit) as left:
        main([*"--widths tiny --pairs 7 --tokens 3 --few-tokens 2 --out".split(), str(out)])
    torch.set_num_threads(threads)
    assert asked == [(TINY, Plan(7, 7, 3, 2), torch.float32)]
    assert left.value.code == bool(fault)
    page = ready("generation_overhead", "found.json")
    assert "| calibrated ÷ plain, 3 tokens | " in page
    assert "Random weights: a decoder of 4 layers" in page
    assert (
        ("**This run is void" in page) == bool(json.loads(out.read_text())["void"]) == bool(fault)
    )


def test_a_run_is_void_for_every_reason(
    arms: Arms, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = replace(found.ratios[0], ratio=1.0)
    memory, scores = found.memory, TINY.heads * arms.runner.count_tokens(arms.messages) ** 2

    def faults(**changed: Any) -> list[str]:
        given = {"again": same, "memory": memory, "equal": 3, "scores": scores} | changed
        return overhead.faults(arms, **given)

    assert faults() == []
    assert "too noisy" in faults(again=replace(same, ratio=1.03))[0]
    assert "concurrent answers differ" in faults(equal=2)[0]
    assert "made a score" in faults(memory=memory | {"calibrated": memory["eager"]})[0]
    assert "does not see the scores" in faults(memory=memory | {"eager": memory["plain"]})[0]
    answer = arms.plain(2)
    monkeypatch.setattr(arms, "gamma_zero", lambda tokens: replace(answer, text="something else"))
    assert "γ = 0 gives another answer" in faults()[0]


def test_equal_answers_are_counted(arms: Arms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arms, "tasks", lambda arms: [*arms.threads()[:2], "something else"])
    plan = replace(PLAN, pairs=1)
    found = measure_with(arms.runner, arms.chain, TINY, plan)
    assert found.equal == 2
    assert "concurrent answers differ from those one by one" in found.faults


def test_a_guard_with_random_weights_scans_and_flags_nothing(tmp_path: Path) -> None:
    tiny = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1},
        "text_cfg": {"width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny-random.json").write_text(json.dumps(tiny))
    open_clip.add_model_config(tmp_path)
    (turn,) = conversation(0, 64)
    verdict = build_guard("tiny-random", CPU).scan(turn.images[0])
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
