"""The benchmark measures what it says; its figures are not judged here."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from benchmarks.detection.queueing import Competing, measure
from guardalign_middleware.cache import BoundedCache

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return measure(pairs=1, callers=2)


def test_every_comparison_has_a_row(found: dict[str, Any]) -> None:
    names = [row["name"] for row in found["comparisons"]]
    assert len(set(names)) == len(names) == 7
    assert [row[0] for row in found["tables"]["scan_queue"]["rows"]] == names
    assert all(row["ratio"] > 0.0 for row in found["comparisons"])
    # A remembered picture takes less than a scan, whatever the machine does meanwhile.
    assert all(row["ratio"] < 1.0 for row in found["comparisons"] if "seen before" in row["name"])


def test_without_the_queue_scans_overlap() -> None:
    both, queue = threading.Barrier(2), Competing()

    def scan(items: list[str]) -> list[str]:
        both.wait(300)
        return items

    def call(key: str) -> None:
        queue.get_many({key: key}, scan, BoundedCache(0))

    threads = [threading.Thread(target=call, args=(key,)) for key in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
