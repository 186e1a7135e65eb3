"""Decodings are counted, and a noisy run is not stored."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.adapter_overhead import count_decodings, demo_png, run


def test_decodings_are_counted_however_the_file_is_opened() -> None:
    data = demo_png()
    Image.open(io.BytesIO(data)).close()  # the reader is registered on first use
    assert count_decodings(lambda: None) == 0
    assert count_decodings(lambda: [Image.open(io.BytesIO(data)).load() for _ in range(3)]) == 3


@pytest.mark.parametrize(("ratio", "stored"), [(1.01, True), (0.97, False)])
def test_a_noisy_run_is_not_stored(ratio: float, stored: bool, tmp_path: Path) -> None:
    row = {"name": "a ÷ a", "ratio": ratio, "low": ratio, "high": ratio, "added_us": 1.0}
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--calls", type=int)

    def measured(pairs: int, calls: int) -> dict[str, Any]:
        return {"comparisons": [row], "asked": [pairs, calls]}

    out, arguments = tmp_path / "found.json", ["--pairs", "3", "--calls", "4"]
    if stored:
        run(measured, out, parser, arguments)
        assert json.loads(out.read_text(encoding="utf-8"))["asked"] == [3, 4]
    else:
        with pytest.raises(SystemExit):
            run(measured, out, parser, arguments)
        assert not out.exists()
