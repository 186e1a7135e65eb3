"""The reference has every public name, and asks for no member that a module does not have."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, all_blocks

PLACES = (ROOT, *(ROOT / "integrations").glob("*"))
PAGES = {path.stem: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
SHOWN = re.findall(r"^::: ([\w.]+)((?:\n    .*)*)", "\n".join(PAGES.values()), re.MULTILINE)
PUBLIC = (
    "guardalign_agents",
    "guardalign_middleware",
    "guardalign_middleware.audit",
    "guardalign_middleware.config",
    "guardalign_middleware.detection",
    "guardalign_middleware.evaluation.judges",
    "guardalign_middleware.evaluation.suites",
    "guardalign_middleware.scale",
    "guardalign_middleware.serving",
    "langchain_guardalign",
    "litellm_guardalign",
    "llama_index.llms.guardalign",
)
# Examples draw scenes by it; the page of the reference says that it is private.
SCENES = "guardalign_middleware.mini"
# The settings are tables, written from the classes; these are types of single fields.
TABLES = "guardalign_middleware.config"


def file_of(module: str) -> Path | None:
    """The file of a module, or None for the name of something in a module."""
    relative = module.replace(".", "/")
    for place in PLACES:
        for file in (place / f"{relative}.py", place / relative / "__init__.py"):
            if file.is_file():
                return file
    return None


def exported(module: str) -> list[str]:
    file = file_of(module)
    assert file
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def defined(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield from (each.asname or each.name for each in node.names)


def shown_names() -> set[str]:
    found = set()
    for name, _ in SHOWN:
        file = file_of(name)
        found |= {name.rsplit(".", 1)[-1]} if file is None else set(exported(name) or defined(file))
    return found


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    names = set(exported(module))
    assert names
    if module == TABLES:
        names = {name for name in names if name.endswith(("Config", "Policy"))}
        from website.settings import settings_reference

        assert {name for name in names if f"`{name}`: " not in settings_reference()} == set()
        return
    assert names - shown_names() - set(exported(TABLES)) - {"GuardAlignConfig"} == set()


def listed_in(module: str) -> set[str]:
    """The names of a module that is shown as a whole, or with some of its members."""
    file = file_of(module)
    for name, options in SHOWN:
        if name == module and file is not None:
            members = re.search(r"members: \[([^\]]+)\]", options)
            return set(members[1].split(", ") if members else exported(module) or defined(file))
    return set()


def imported(code: str) -> Iterator[tuple[str, str]]:
    """Modules of ours that a program imports from, with the names."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and file_of(node.module):
            yield from ((node.module, each.name) for each in node.names)


def programs() -> list[tuple[str, str]]:
    examples = sorted((ROOT / "examples").glob("*.py"))
    return [
        *((str(block), block.code) for block in all_blocks("python")),
        *((file.name, file.read_text(encoding="utf-8")) for file in examples),
    ]


@pytest.mark.parametrize(("place", "code"), programs(), ids=[name for name, _ in programs()])
def test_guides_and_examples_use_no_private_name(place: str, code: str) -> None:
    shown = {name for name, _ in SHOWN}
    for module, name in imported(code):
        if module.startswith(SCENES) or module in {"guardalign_middleware", TABLES}:
            continue
        assert f"{module}.{name}" in shown or name in listed_in(module), f"{place}: {module}.{name}"


@pytest.mark.parametrize(("name", "options"), SHOWN)
def test_the_members_that_are_asked_for_exist(name: str, options: str) -> None:
    for listed in re.findall(r"members: \[([^\]]+)\]", options):
        file = file_of(name)
        assert file
        assert set(listed.split(", ")) <= set(defined(file))
