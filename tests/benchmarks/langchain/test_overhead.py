"""The overhead benchmark runs, and an image is decoded exactly once."""

from __future__ import annotations

import json

import pytest

from benchmarks.langchain.overhead import RESULT, measure
from guardalign_middleware.testing import red_guard


@pytest.fixture(scope="module")
def result() -> dict[str, object]:
    return measure(pairs=1, calls=1, guard=red_guard())


def test_every_comparison_is_in_the_table(result: dict[str, object]) -> None:
    published = json.loads(RESULT.read_text(encoding="utf-8"))
    names = [row[0] for row in result["tables"]["langchain_overhead"]["rows"]]  # type: ignore[index]
    assert names == [row["name"] for row in published["comparisons"]]
    assert len(names) == 5


def test_an_image_is_decoded_once(result: dict[str, object]) -> None:
    assert result["decodings"] == {"ChatGuardAlign": 1, "ImageGuardRunnable": 1}


def test_the_published_run_is_not_void() -> None:
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["comparisons"]
    assert abs(rows[0]["ratio"] - 1.0) <= 0.02
    assert rows[0]["pairs"] >= 20
    # A known image costs at most 2% of a first look.
    assert rows[-1]["ratio"] <= 0.02
