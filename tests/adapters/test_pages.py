"""What the adapters' pages say about residuals is shown by tests, which they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.promises.test_promises_page import names_in

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "langchain.md", ROOT / "docs" / "llama-index.md")
FOLDERS = (
    ROOT,
    ROOT / "tests" / "adapters",
    ROOT / "integrations" / "langchain-guardalign" / "tests" / "unit_tests",
    ROOT / "integrations" / "llama-index-llms-guardalign" / "tests",
)


def named(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`([\w/-]+\.py)::([\w:]+)`", text)


def exists(file: str, test: str) -> bool:
    paths = [folder / file for folder in FOLDERS if (folder / file).is_file()]
    return any(test in names_in(path) for path in paths)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_named_test_exists(page: Path) -> None:
    found = named(page.read_text(encoding="utf-8"))
    assert len(found) > 8
    for file, test in found:
        assert exists(file, test), f"{file}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_residual_has_a_cure_and_a_test(page: Path) -> None:
    (section,) = re.findall(
        r"^## Residuals\n(.*?)(?=^## |\Z)", page.read_text(encoding="utf-8"), re.S | re.M
    )
    rows = [line for line in section.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 4
    for row in rows[1:]:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert all(cells), row
        assert named(cells[-1]), row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_anchors_that_are_linked_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    heads = re.findall(r"^##+ (.+)$", text, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_a_test_that_does_not_exist_would_be_noticed() -> None:
    assert not exists("test_residuals.py", "test_that_is_missing")
    assert not exists("test_no_file.py", "test_that_is_missing")
