"""Every test that docs/promises.md names exists, and each of the seventeen promises names some."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([a-z0-9_/-]+\.py)::([A-Za-z0-9_:]+)`", PAGE)


@cache
def names_in(path: Path) -> frozenset[str]:
    """`test_name` and `TestClass::test_name` in a file, without importing it."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            prefix + item.name
            for item in inner
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            and item.name.startswith("test_")
        }
    return frozenset(found)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_exists(path: str, name: str) -> None:
    assert name in names_in(ROOT / path)


def test_every_line_that_names_a_test_was_understood() -> None:
    assert len(NAMED) == len(re.findall(r"^- `tests/", PAGE, flags=re.MULTILINE))


def test_all_seventeen_promises_name_tests() -> None:
    parts = re.split(r"^## (\d+)\. ", PAGE, flags=re.MULTILINE)[1:]
    assert parts[::2] == [str(number) for number in range(1, 18)]
    assert all("- `tests/" in text for text in parts[1::2])


def test_a_test_that_does_not_exist_would_be_noticed() -> None:
    assert "test_that_is_missing" not in names_in(Path(__file__))
    assert "test_a_named_test_exists" in names_in(Path(__file__))
