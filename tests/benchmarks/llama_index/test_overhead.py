"""The overhead benchmark runs, an image is decoded once, and the stored run is valid."""

import json

from benchmarks.llama_index.overhead import RESULT, measure
from guardalign_middleware.testing import red_guard

STORED = json.loads(RESULT.read_text(encoding="utf-8"))


def test_every_comparison_is_in_the_table_and_an_image_is_decoded_once() -> None:
    result = measure(pairs=1, calls=1, guard=red_guard())
    names = [row[0] for row in result["tables"]["llama_index_overhead"]["rows"]]
    assert names == [row["name"] for row in STORED["comparisons"]]
    assert result["decodings"] == STORED["decodings"]


def test_the_stored_run_is_valid() -> None:
    same, *others = STORED["comparisons"]
    assert abs(same["ratio"] - 1.0) <= 0.02
    assert all(row["pairs"] >= 20 and row["low"] <= row["ratio"] <= row["high"] for row in others)
    assert set(STORED["decodings"].values()) == {1}
