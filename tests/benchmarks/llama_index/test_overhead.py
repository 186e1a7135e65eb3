"""The stored run is valid, and an image is decoded once; the page is checked by test_figures."""

import json

from benchmarks.llama_index.overhead import RESULT


def test_the_stored_run_is_valid() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    same, *others = result["comparisons"]
    assert abs(same["ratio"] - 1.0) <= 0.02
    assert all(row["pairs"] >= 20 and row["low"] <= row["ratio"] <= row["high"] for row in others)
    assert set(result["decodings"].values()) == {1}
