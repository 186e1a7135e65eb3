"""What `make release-check` checks without building: versions, metadata, templates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from release import metadata
from release.building import PROJECTS, check_same
from release.commands import CheckFailed, run
from release.environments import find_python

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"


def test_the_repository_is_ready() -> None:
    assert list(metadata.problems(ROOT)) == []


def test_every_distribution_is_among_the_projects() -> None:
    found = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*/pyproject.toml")}
    assert found | {"."} == set(PROJECTS)


def test_what_does_not_agree_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    projects = {folder: dict(metadata.project_of(ROOT, folder)) for folder in PROJECTS}
    projects["integrations/litellm-guardalign"].update(version="9.9", keywords=[], classifiers=[])
    monkeypatch.setattr(metadata, "project_of", lambda root, folder: projects[folder])
    assert list(metadata.problems(ROOT)) == [
        "litellm-guardalign has no classifiers, keywords.",
        "litellm-guardalign is 9.9, not 0.1.0.",
        *(f"litellm-guardalign does not name Python {python}." for python in metadata.PYTHONS),
    ]


def test_builds_that_differ_are_named() -> None:
    check_same({"a.whl": "1"}, {"a.whl": "1"})
    with pytest.raises(CheckFailed, match=r"a\.whl, b\.whl"):
        check_same({"a.whl": "1", "b.whl": "2"}, {"a.whl": "3"})


def test_a_program_that_fails_is_shown_with_its_output() -> None:
    program = "import sys; sys.exit('what went wrong')"
    with pytest.raises(CheckFailed, match="what went wrong"):
        run([sys.executable, "-S", "-c", program])


def test_an_interpreter_is_found_by_its_version() -> None:
    here = ".".join(map(str, sys.version_info[:2]))
    assert find_python(here)
    assert find_python("3.99") is None


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.yml")), ids=lambda path: path.stem)
def test_a_template_is_a_form(template: Path) -> None:
    form = yaml.safe_load(template.read_text(encoding="utf-8"))
    if template.stem == "config":
        return
    assert {"name", "description", "body"} <= set(form)
    names = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(names) == len(set(names)) >= 3
    for field in form["body"]:
        assert field["type"] in {"markdown", "textarea", "dropdown", "input", "checkboxes"}
        assert field["attributes"].get("label") or field["attributes"].get("value")
