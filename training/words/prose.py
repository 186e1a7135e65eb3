"""How much ordinary prose the classifier of orders flags: `python -m training.words.prose`.

Paragraphs of installed packages that neither weights nor thresholds have seen, and with `--xstest`
the safe questions of XSTest's published table.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from guardalign_middleware.evaluation.metrics import rate
from guardalign_middleware.words.guards.builtin import BuiltinGuard, shipped_profile
from training.words.readmes import paragraphs


def safe_questions(file: Path) -> list[str]:
    """The prompts of XSTest's table that are labelled safe.

    Raises:
        KeyError: the table has no column `prompt` or `label`.
    """
    with file.open(encoding="utf-8", newline="") as table:
        return [row["prompt"] for row in csv.DictReader(table) if row["label"] == "safe"]


def flagged(texts: Sequence[str]) -> str:
    """How many of the texts are flagged at the threshold that ships."""
    limit = shipped_profile("injection").threshold
    found = BuiltinGuard.load("injection").assess(texts)
    hits = rate(sum(one.distance <= limit for one in found), len(texts))
    return f"{hits.value:.3f} ({hits.low:.3f}–{hits.high:.3f}) of {len(texts)} flagged"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--xstest", type=Path, help="XSTest's table (xstest_prompts.csv)")
    options = parser.parse_args(arguments)
    Console().print(f"paragraphs of packages: {flagged(paragraphs('measure'))}")
    if options.xstest is not None:
        Console().print(f"XSTest, safe questions: {flagged(safe_questions(options.xstest))}")


if __name__ == "__main__":
    main()
