"""Paired timings tell apart what costs more, and decodings are counted."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from benchmarks.paired import compare, decodings


def busy(steps: int) -> Callable[[], object]:
    return lambda: sum(range(steps))


def test_twice_the_work_is_about_twice_the_time() -> None:
    found = compare("b ÷ a", busy(20_000), busy(40_000), pairs=20, calls=3)
    assert found.low <= found.ratio <= found.high
    assert 1.5 < found.ratio < 2.6
    assert found.added_us > 0


def test_a_thing_costs_what_it_costs() -> None:
    work = busy(20_000)
    assert compare("a ÷ a", work, work, pairs=20, calls=3).ratio == pytest.approx(1.0, abs=0.15)


def test_decodings_are_counted_however_the_file_is_opened() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(buffer, "PNG")
    data = buffer.getvalue()
    Image.open(io.BytesIO(data)).close()  # the reader is registered on first use
    assert decodings(lambda: None) == 0
    assert decodings(lambda: [Image.open(io.BytesIO(data)).load() for _ in range(3)]) == 3
