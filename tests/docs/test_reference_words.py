"""Names, codes and messages that the glossary and the page about errors quote, exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from guardalign_middleware import errors
from guardalign_middleware.config import GuardAlignConfig
from tests.docs.pages import ROOT, text_of

PACKAGE = ROOT / "guardalign_middleware"
TROUBLES = text_of("docs/troubleshooting.md")
GLOSSARY = text_of("docs/glossary.md")


@cache
def source() -> str:
    """All code, with the parts of texts that are written on several lines put together."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def codes(docstring: str | None) -> set[str]:
    return set(re.findall(r"`([a-z_]+)`", docstring or "")) - {"reason", "stage"}


def classes() -> list[str]:
    tree = ast.parse((PACKAGE / "errors.py").read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("name", classes())
def test_each_error_is_on_the_page(name: str) -> None:
    assert f"`{name}`" in TROUBLES


@pytest.mark.parametrize("kind", [errors.HubError, errors.ImageRejected, errors.GuardError])
def test_each_code_has_a_row(kind: type[Exception]) -> None:
    found = codes(kind.__doc__)
    assert len(found) > 8
    rows = {
        code
        for line in TROUBLES.splitlines()
        if line.startswith("| `")
        for code in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }
    assert found <= rows


def test_each_code_of_the_server_has_a_row() -> None:
    text = "\n".join(path.read_text() for path in sorted((PACKAGE / "serving").rglob("*.py")))
    found = set(re.findall(r'code="([a-z_]+)"', text))
    assert len(found) > 20
    assert found <= set(re.findall(r"`([a-z_]+)`", TROUBLES.split("## Over HTTP")[1]))


def quoted() -> Iterator[str]:
    for line in TROUBLES.splitlines():
        if line.startswith('| "'):
            yield from re.findall(r'"([^"]+)"', line.split("|")[1])


@pytest.mark.parametrize("message", list(quoted()))
def test_a_quoted_message_is_one(message: str) -> None:
    for part in re.split(r" ?…,? ?", message):
        assert part in source(), part


def settings(model: type, path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():  # type: ignore[attr-defined]
        yield f"{path}{name}"
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for each in inner:
            if hasattr(each, "model_fields"):
                yield from settings(each, f"{path}{name}.")


def test_the_glossary_names_what_exists() -> None:
    known = set(settings(GuardAlignConfig))
    words = set(re.findall(r"\w+", source()))
    rows = [line for line in GLOSSARY.splitlines() if line.startswith("| ")]
    names = [name for line in rows for name in re.findall(r"`([A-Za-z_.]+)`", line)]
    assert len(names) > 40
    for name in names:
        if name in {"reg"}:  # it is named as what we do not say
            continue
        is_setting = any(each == name or each.endswith(f".{name}") for each in known)
        assert is_setting or set(name.split(".")) <= words, name
