"""The distributions fit together: a light core, everything that runs models beside it, adapters."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware import __version__
from guardalign_middleware.local_extra import LIBRARIES

ROOT = Path(__file__).parents[1]
ADAPTERS = ("guardalign-agents", "langchain-guardalign", "llama-index-llms-guardalign")
# Their names on the index, where these differ from what is imported.
NAMES = {"open_clip": "open-clip-torch", "ot": "pot"}
LIGHT_EXTRAS = {"langchain", "llama-index", "mcp", "pdf"}


def project(folder: str) -> dict[str, Any]:
    page = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(page["project"])


CORE = project(".")
WHOLE = project("packaging/guardalign-middleware")


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=]", each)[0] for each in requirements}


def test_the_whole_is_the_core_of_the_same_version_with_what_runs_models() -> None:
    assert CORE["version"] == WHOLE["version"] == __version__
    assert WHOLE["dependencies"] == [f"guardalign-core[local]=={__version__}"]


def test_the_whole_has_the_extras_of_the_core() -> None:
    extras = set(CORE["optional-dependencies"]) - {"local"}
    assert WHOLE["optional-dependencies"] == {
        name: [f"guardalign-core[{name}]=={__version__}"] for name in extras
    }


def test_what_is_asked_for_before_a_model_loads_is_the_extra_local_and_nothing_of_it_is_light() -> (
    None
):
    local = names(CORE["optional-dependencies"]["local"])
    assert local == {NAMES.get(name, name) for name in LIBRARIES} | {"torchvision"}
    assert not local & names(CORE["dependencies"])


@pytest.mark.parametrize("name", sorted(CORE["optional-dependencies"]))
def test_an_extra_that_needs_models_here_brings_them(name: str) -> None:
    extra = CORE["optional-dependencies"][name]
    assert ("guardalign-core[local]" in extra) == (name not in LIGHT_EXTRAS | {"local"})


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_needs_the_core_only(name: str) -> None:
    adapter = project(f"integrations/{name}")
    below = ".".join((__version__.split(".")[0], str(int(__version__.split(".")[1]) + 1)))
    accepted = f">={'.'.join(__version__.split('.')[:2])},<{below}"
    assert f"guardalign-core{accepted}" in adapter["dependencies"]
    assert not names(adapter["dependencies"]) & names(CORE["optional-dependencies"]["local"])
    assert adapter["optional-dependencies"]["local"] == [f"guardalign-core[local]{accepted}"]


def test_the_guardrail_of_a_gateway_needs_no_core() -> None:
    assert names(project("integrations/litellm-guardalign")["dependencies"]) == {"httpx", "litellm"}


@pytest.mark.parametrize(
    "folder", ["packaging/guardalign-middleware", *ADAPTERS, "litellm-guardalign"]
)
def test_each_distribution_carries_the_licence(folder: str) -> None:
    place = folder if "/" in folder else f"integrations/{folder}"
    assert (ROOT / place / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("page", ["README.md", "packaging/guardalign-middleware/README.md"])
def test_each_extra_is_named_where_people_read_what_to_install(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    extras = set(CORE["optional-dependencies"]) - {"local"}
    assert {name for name in extras if f"`{name}`" not in text} == set()


def made(folder: Path, target: str) -> list[str]:
    """What make would run."""
    told = subprocess.run(
        ["make", "--dry-run", target], cwd=folder, capture_output=True, text=True, check=True
    )
    return told.stdout.splitlines()


def test_the_demo_installs_what_runs_models_and_no_tools_of_development(tmp_path: Path) -> None:
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "packaging" / "guardalign-middleware").mkdir(parents=True)
    shutil.copy(
        ROOT / "packaging/guardalign-middleware/pyproject.toml",
        tmp_path / "packaging/guardalign-middleware",
    )
    first = made(tmp_path, "demo")
    assert any(line.endswith("--editable '.[local]'") for line in first)
    assert not any("--group dev" in line for line in first)
    # Whatever develops here has all of it already.
    marks = made(tmp_path, "setup")[-1].split()
    assert marks[0] == "touch"
    (tmp_path / ".venv").mkdir()
    for mark in marks[1:]:
        (tmp_path / mark).touch()
    assert made(tmp_path, "demo") == [".venv/bin/guardalign demo"]
