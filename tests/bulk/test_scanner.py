"""One input after another: which faults are an input's, and which end the scan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from guardalign_middleware import ImageGuard
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import DeviceLost, Job
from guardalign_middleware.bulk.scanner import Scanner
from guardalign_middleware.cli.scan import ScanOptions, run_scan
from guardalign_middleware.testing import red_config, red_guard
from tests.support.broken import guard_with, raising
from tests.support.bulk import PLAIN

LOST = torch.AcceleratorError("secret", 1)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[ImageGuard], None]:
    """Let scans have this guard."""
    return lambda guard: monkeypatch.setattr(ImageGuard, "from_config", lambda config: guard)


def results(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("on_fault", ["raise", "allow"])
def test_an_accelerator_that_is_lost_ends_the_scan_and_no_input_is_to_blame(
    use: Callable[[ImageGuard], None], tmp_path: Path, on_fault: str, copies: bool
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(PLAIN + name.encode())
    paths = [str(tmp_path / f"{name}.png") for name in "abc"]
    options = ScanOptions(
        resume=tmp_path / "results.jsonl", copies=tmp_path / "clean" if copies else None
    )
    use(red_guard(red_config()))
    assert run_scan(paths[:1], [], options) == 0
    use(guard_with(raising(LOST), on_fault=on_fault))
    with pytest.raises(DeviceLost, match=r"failed while .*b\.png was scanned") as caught:
        run_scan(paths, [], options)
    assert "secret" not in str(caught.value)
    assert [row["source"] for row in results(tmp_path / "results.jsonl")] == paths[:1]
    assert not (tmp_path / "clean").exists() or len(list((tmp_path / "clean").rglob("*.png"))) == 1
    use(red_guard(red_config()))
    assert run_scan(paths, [], options) == 0
    assert [row["source"] for row in results(tmp_path / "results.jsonl")] == paths


@pytest.mark.parametrize("error", [RuntimeError("x"), torch.OutOfMemoryError("CUDA out of memory")])
def test_any_other_fault_is_a_line_with_an_error(
    use: Callable[[ImageGuard], None], error: Exception
) -> None:
    use(guard_with(raising(error)))
    outcome = Scanner(Job(red_config())).scan(Entry("a.png", "a.png", PLAIN))
    assert outcome.error is not None
    assert outcome.records[0]["source"] == "a.png"
