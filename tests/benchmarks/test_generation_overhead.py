"""The benchmark measures what it says, on a model too small for its figures to mean much."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from benchmarks.generation_overhead import measure


def test_a_small_run(tmp_path: Path) -> None:
    options = Namespace(
        hidden=32,
        layers=4,
        heads=4,
        prefill=160,
        new_tokens=2,
        gamma=0.5,
        pairs=2,
        device="cpu",
        dtype="float32",
        clock="cpu",
        out=tmp_path / "found.json",
    )
    found = measure(options)
    assert [ratio["name"] for ratio in found["ratios"]] == [
        "plain ÷ itself",
        "calibrated ÷ plain",
        "calibrated over eager attention ÷ calibrated",
    ]
    assert all(0.0 < r["low"] <= r["ratio"] <= r["high"] for r in found["ratios"])
    assert found["concurrent_answers_equal"]
    assert found["concurrent_gain"] > 0.0
    assert 160 <= found["prompt_tokens"] < 220
    # Goal: nowhere a score for every pair of tokens and every head.
    sizes = found["largest_tensor"]
    assert sizes["plain"] <= sizes["calibrated"] < sizes["scores_of_all_rows"]
