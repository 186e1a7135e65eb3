"""Checks everything that a release would upload, and uploads nothing."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from release.building import build_all, check_same, uncommitted
from release.commands import CheckFailed, say
from release.environments import find_python, install_and_use
from release.metadata import PYTHONS, check_metadata

ROOT = Path(__file__).parents[1]


def check(out: Path, pythons: Sequence[str], *, models: bool) -> None:
    """Build, compare, check and install.

    Args:
        out: folder for the files and SHA256SUMS; emptied first.
        pythons: versions to install with; those that are not on this machine are named.
        models: with each of them, also install what runs models (gigabytes).

    Raises:
        CheckFailed: something is not ready.
    """
    for change in uncommitted(ROOT):
        say(f"not in the release, since it is not committed: {change}")
    shutil.rmtree(out, ignore_errors=True)
    sums = build_all(ROOT, out)
    with tempfile.TemporaryDirectory() as folder:
        check_same(sums, build_all(ROOT, Path(folder)))
    lines = [f"{sha256}  {name}\n" for name, sha256 in sums.items()]
    (out / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    say(f"{len(sums)} files, twice the same bytes: {out}")
    check_metadata(ROOT, out)
    say("versions, metadata, contents and citation are valid")
    tried = 0
    for version in pythons:
        python = find_python(version)
        if python is None:
            say(f"Python {version} is not on this machine: not tried")
            continue
        for with_models in (False, True) if models else (False,):
            installed = install_and_use(out, python, ROOT / "constraints.txt", models=with_models)
            what = "with models" if with_models else "light"
            say(f"Python {version}: {installed} installed in an empty environment, {what}")
        tried += 1
    if not tried:
        raise CheckFailed(f"None of Python {', '.join(pythons)} is on this machine.")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 ready, 1 not ready."""
    parser = argparse.ArgumentParser(prog="python -m release.check", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the files")
    parser.add_argument("--python", nargs="+", default=PYTHONS, help="versions to install with")
    parser.add_argument(
        "--models", action="store_true", help="also install torch and scan a picture (gigabytes)"
    )
    given = parser.parse_args(arguments)
    try:
        check(given.out, given.python, models=given.models)
    except CheckFailed as error:
        say(f"NOT READY\n{error}")
        return 1
    say("ready for a release; nothing was uploaded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
