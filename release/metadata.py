"""What is written about the distributions: versions that agree, complete fields, valid files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from release.building import PROJECTS, distributions
from release.commands import CheckFailed, tool

PYTHONS = ("3.11", "3.12", "3.13")
_FIELDS = (
    "authors",
    "classifiers",
    "description",
    "keywords",
    "license",
    "license-files",
    "name",
    "readme",
    "requires-python",
    "version",
)
_TWINE = "twine==7.0.0"
_VALIDATE = "validate-pyproject==0.27"
_CONTENTS = "check-wheel-contents==0.6.3"
_CITATION = "cffconvert==2.0.0"


def project_of(root: Path, folder: str) -> dict[str, Any]:
    """The table `project` of a pyproject.toml."""
    text = (root / folder / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["project"])


def problems(root: Path) -> Iterator[str]:
    """A line for everything that is missing or does not agree."""
    version = project_of(root, ".")["version"]
    for folder in PROJECTS:
        project = project_of(root, folder)
        missing = [field for field in _FIELDS if not project.get(field)]
        if missing:
            yield f"{project.get('name', folder)} has no {', '.join(missing)}."
        if project.get("version") != version:
            yield f"{project['name']} is {project.get('version')}, not {version}."
        for python in PYTHONS:
            if f"Programming Language :: Python :: {python}" not in project.get("classifiers", ()):
                yield f"{project['name']} does not name Python {python}."
    package = (root / "guardalign_middleware" / "__init__.py").read_text(encoding="utf-8")
    if f'__version__ = "{version}"' not in package:
        yield f"guardalign_middleware.__version__ is not {version}."
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    if str(cited) != version:
        yield f"CITATION.cff is about {cited}, not {version}."
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## \[([^\]]+)\]", changes, flags=re.MULTILINE)
    if not {"Unreleased", version} & set(heads[:1]):
        yield f"CHANGELOG.md begins neither with [Unreleased] nor with [{version}]."


def check_metadata(root: Path, out: Path) -> None:
    """Check what is written, with the tools of the index.

    Raises:
        CheckFailed: something is missing, does not agree or is invalid.
    """
    found = list(problems(root))
    if found:
        raise CheckFailed("\n".join(found))
    files = list(distributions(out))
    tool(_TWINE, "twine", "check", "--strict", *files)
    # W002: the licences of the sprites stand beside them and in the metadata.
    tool(_CONTENTS, "check-wheel-contents", "--ignore", "W002", *_wheels(files))
    for folder in PROJECTS:
        tool(_VALIDATE, "validate-pyproject", root / folder / "pyproject.toml")
    tool(_CITATION, "cffconvert", "--validate", "--infile", root / "CITATION.cff")


def _wheels(files: list[Path]) -> list[Path]:
    # guardalign-middleware has no code, which the tool would call an empty wheel.
    return [
        file
        for file in files
        if file.suffix == ".whl" and not file.name.startswith("guardalign_middleware-")
    ]
