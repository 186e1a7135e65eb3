"""`make floors` runs on the oldest versions that the adapters accept."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_floor_that_is_tested_is_the_one_that_is_claimed() -> None:
    page = ROOT / "integrations" / "llama-index-llms-guardalign" / "pyproject.toml"
    dependencies = tomllib.loads(page.read_text(encoding="utf-8"))["project"]["dependencies"]
    (claimed,) = (each for each in dependencies if each.startswith("llama-index-core"))
    floor = re.match(r"llama-index-core>=([\d.]+),", claimed)
    assert floor is not None
    tested = (ROOT / "tests" / "floors.txt").read_text(encoding="utf-8").split()
    assert tested == [f"llama-index-core=={floor[1]}"]
