"""Builds the distributions so that everybody who builds the same commit gets the same bytes."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from release.commands import CheckFailed, run, uv

PROJECTS = (
    ".",
    "packaging/guardalign-middleware",
    "integrations/guardalign-agents",
    "integrations/langchain-guardalign",
    "integrations/litellm-guardalign",
    "integrations/llama-index-llms-guardalign",
)


def commit_time(root: Path) -> str:
    """SOURCE_DATE_EPOCH: when the last commit was made, in seconds."""
    return run(["git", "log", "-1", "--format=%ct"], folder=root).strip()


def uncommitted(root: Path) -> list[str]:
    """Paths of changes that a release would not have."""
    return run(["git", "status", "--porcelain"], folder=root).splitlines()


def build_all(root: Path, out: Path) -> Mapping[str, str]:
    """Build a wheel and an sdist of each project from the last commit.

    The wheel is built from the sdist, as an index's users would build it.

    Args:
        root: of the repository.
        out: folder for the files; made if it does not exist.

    Returns:
        SHA-256 by file name.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "source"
        _extract(root, copy)
        for project in PROJECTS:
            uv(
                "build",
                "--quiet",
                "--no-build-isolation",
                *("--python", sys.executable),
                *("--out-dir", out),
                copy / project,
                SOURCE_DATE_EPOCH=commit_time(root),
            )
    return {file.name: digest(file) for file in distributions(out)}


def _extract(root: Path, copy: Path) -> None:
    """The last commit's files, without history and without what is ignored."""
    archive = run_bytes(root)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(copy, filter="data")


def run_bytes(root: Path) -> bytes:
    """The last commit as a tar archive."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        run(["git", "archive", "--output", file.name, "HEAD"], folder=root)
        return Path(file.name).read_bytes()


def distributions(out: Path) -> Iterator[Path]:
    """Wheels and sdists in a folder, by name."""
    yield from sorted([*out.glob("*.whl"), *out.glob("*.tar.gz")])


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check_same(first: Mapping[str, str], second: Mapping[str, str]) -> None:
    """Compare two builds of one commit.

    Raises:
        CheckFailed: files or bytes differ.
    """
    different = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    if different:
        raise CheckFailed(f"Two builds of one commit differ: {', '.join(different)}.")
