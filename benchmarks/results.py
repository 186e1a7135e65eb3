"""The stored measurements: JSON files that the tables and plots of the pages are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def read_json(path: Path) -> Any:
    """The content of a stored measurement."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Store a measurement; the folder is made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{json.dumps(data, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
