"""The GPU script refuses without a GPU, and all of its code runs in a rehearsal on a CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.generation import kernels
from benchmarks.generation.gpu import main
from benchmarks.generation.kernels import _Prompts, exact
from benchmarks.generation.models import TINY, build
from benchmarks.generation.plan import Plan, fitting
from guardalign_middleware.generation import CalibratedRunner


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as left:
        main(["--out", str(tmp_path / "found.json")])
    assert left.value.code == 2
    assert "sees none" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_rehearsal_runs_every_measurement_and_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    with pytest.raises(SystemExit):
        main(["--cpu-rehearsal", "--out", str(out)])
    found: Any = json.loads(out.read_text())
    assert "rehearsal" in found["device"]
    assert [fault for fault in found["void"] if "noisy" not in fault] == []
    assert len(found["ratios"]) == 7
    right = {check["asked"]: check["right"] for check in found["checks"]}
    # The memory-efficient and the cuDNN kernels are CUDA's.
    assert [asked for asked, value in right.items() if value is not True] == [
        "rows are exact over SDPA's efficient attention",
        "rows are exact over SDPA's cudnn attention",
    ]
    assert None not in (right[f"compiled decoding, {how}"] for how in ("plain", "calibrated"))
    assert "calibrated ÷ plain" in capsys.readouterr().out


def test_the_plan_fits_the_time_there_is() -> None:
    plan = Plan(pairs=20, tokens=128, few_tokens=32)
    times: Any = {"prompt_seconds": 0.01, "token_seconds": 0.02}
    assert fitting(plan, **times, budget=1e6) == plan
    shorter = fitting(plan, **times, budget=300)
    assert 8 <= shorter.tokens < 128
    assert shorter.pairs == 20
    with pytest.raises(ValueError, match="longer than 1 seconds"):
        fitting(plan, **times, budget=1)


@pytest.fixture(scope="module")
def runner() -> CalibratedRunner:
    return build(TINY, device=torch.device("cpu"), dtype=torch.float32, calibration={"gamma": 0.5})


class TestChecksCanFail:
    def test_padding_that_is_read(self, runner: CalibratedRunner) -> None:
        prompts = _Prompts(runner, TINY)
        assert prompts.padding().right
        mask = prompts.padded.inputs["attention_mask"]
        mask.fill_(1)
        assert prompts.padding().right is False

    def test_rows_that_change_before_the_instruction(self, runner: CalibratedRunner) -> None:
        prompts = _Prompts(runner, TINY)
        assert prompts.other_rows().right
        assert prompts.gamma_zero().right
        logits = prompts.logits
        prompts.logits = lambda rows, gamma: (  # type: ignore[method-assign]
            logits(rows, gamma) + (0.0 if gamma is None else 1e-5)
        )
        assert prompts.other_rows().right is False
        assert prompts.gamma_zero().right is False

    def test_wrong_rows(self, runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch) -> None:
        assert exact(runner, TINY, "MATH").right
        forward = kernels.calibrated_attention_forward

        def wrong(*args: Any, **kwargs: Any) -> Any:
            out, weights = forward(*args, **kwargs)
            return out * 1.001, weights

        monkeypatch.setattr(kernels, "calibrated_attention_forward", wrong)
        assert exact(runner, TINY, "MATH").right is False
