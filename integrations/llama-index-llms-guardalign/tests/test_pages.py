"""README and docs page: their code runs, the tests, links and versions they name exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.testing import png
from guardalign_middleware.types import CanonicalImage
from llama_index_support.conversations import ignore_agent_warnings

pytestmark = ignore_agent_warnings
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
README = (HERE.parent / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "llama-index.md").read_text(encoding="utf-8")


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a picture that the miniature guard masks."""
    (scene,) = [item for item in demo_scenes() if item.name == "pistol-apple"]
    data = png(CanonicalImage(scene.scene.pixels))
    (tmp_path / "guardalign-demo").mkdir()
    (tmp_path / "guardalign-demo" / "04-pistol-apple.png").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_code_of_the_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One block after the other, in one namespace."""
    names: dict[str, Any] = {}
    for code in blocks(PAGE):
        exec(compile(code, "docs/llama-index.md", "exec"), names)
    said = capsys.readouterr().out
    assert "mask weapon" in said
    assert names["guarded"].llm is names["your_llm"]


@pytest.mark.slow
def test_the_code_of_the_readme_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for code in blocks(README):
        exec(compile(code, "README.md", "exec"), names)
    assert "mask" in capsys.readouterr().out


def test_each_row_of_the_table_names_tests_that_exist() -> None:
    table = PAGE.split("## Consumers")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
            kinds = ast.FunctionDef | ast.AsyncFunctionDef
            assert test in {node.name for node in tree.body if isinstance(node, kinds)}, row


def test_the_versions_are_those_that_are_tested() -> None:
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    stated = re.findall(r"(llama-index-\w+) (\d+\.\d+\.\d+)", PAGE)
    assert {name for name, _ in stated} == {"llama-index-core", "llama-index-workflows"}
    for name, version in stated:
        assert f"{name}=={version}\n" in pinned


@pytest.mark.parametrize(("path", "page"), [(HERE.parent, README), (ROOT / "docs", PAGE)])
def test_the_files_that_are_linked_exist(path: Path, page: str) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)\)", page):
        assert (path / link).exists(), link


def test_the_anchors_that_are_linked_exist() -> None:
    heads = re.findall(r"^##+ (.+)$", PAGE, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
