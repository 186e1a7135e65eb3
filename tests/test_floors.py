"""The oldest versions that the adapters accept are tested: by `make test`, or by `make floors`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORKS = {
    "langchain-core": "langchain-guardalign",
    "llama-index-core": "llama-index-llms-guardalign",
}


def pins(path: str) -> dict[str, str]:
    text = (ROOT / path).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w-]+)==([\d.]+)$", text, flags=re.MULTILINE))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_floor_that_is_claimed_is_tested(framework: str) -> None:
    page = ROOT / "integrations" / FRAMEWORKS[framework] / "pyproject.toml"
    dependencies = tomllib.loads(page.read_text(encoding="utf-8"))["project"]["dependencies"]
    (claimed,) = (each for each in dependencies if each.startswith(framework))
    floor = re.match(rf"{framework}>=([\d.]+),", claimed)
    assert floor is not None
    oldest = {**pins("constraints.txt"), **pins("tests/floors.txt")}[framework]
    assert floor[1] == oldest
