"""The benchmark measures what it says; its figures are not judged here."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.serving import device, overhead

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def test_every_comparison_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "PASS_SECONDS", 0.001)
    monkeypatch.setattr(overhead, "SIDE", 64)
    monkeypatch.setattr(overhead, "_CHUNKS", 3)
    found: dict[str, Any] = overhead.measure(pairs=1, calls=1, rounds=1)
    names = [row["name"] for row in found["comparisons"]]
    assert len(set(names)) == len(names) == 5
    assert len(found["tables"]["serving_overhead"]["rows"]) == len(names) + 2
    assert all(row["ratio"] > 0.0 for row in found["comparisons"] + found["elapsed"])
    # The first request may end alone before the others come; never one by one.
    assert found["at_once"]["serial_passes"] == device.CALLERS
    assert found["at_once"]["passes"] <= device.CALLERS
