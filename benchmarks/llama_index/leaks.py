"""Where raw images get through in LlamaIndex: `python -m benchmarks.llama_index.leaks`.

One unsafe picture is put into every position of LlamaIndex's programs, in every form of block, node
or keyword that can hold it, without a guard and with ours. A recording LLM stores what reaches it.
Offline.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

from rich.console import Console
from rich.progress import track

from benchmarks.llama_index.cases import Case
from benchmarks.llama_index.positions import POSITIONS
from benchmarks.pictures import guard_and_picture
from benchmarks.results import RESULTS, write_json
from benchmarks.tables import Table, table
from guardalign_middleware import ImageGuard
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.testing import holds_raw

RESULT = RESULTS / "llama_index_leaks.json"
OURS = "guarded"
NO_GUARD = "no guard"
PACKAGES = ("llama-index-core", "llama-index-workflows", "llama-index-llms-guardalign")
Outcome = Literal["raw", "clean", "refused"]
"""What the LLM or the store got: the raw picture; none; or nothing, because of an error."""
Outcomes = Mapping[str, Mapping[str, Mapping[str, Outcome]]]
"""By arm, position and case."""


def run(case: Case, guard: ImageGuard | None, png: bytes) -> Outcome:
    """Run a program once."""
    try:
        return "raw" if holds_raw(case(guard), png) else "clean"
    except GuardAlignError:
        return "refused"


def measure(
    guard: ImageGuard, png: bytes, positions: Sequence[str] = tuple(POSITIONS)
) -> dict[str, dict[str, dict[str, Outcome]]]:
    """The outcome of every run.

    Args:
        guard: ours.
        png: a picture that the guard masks.
        positions: keys of `POSITIONS`.
    """
    arms = {NO_GUARD: None, OURS: guard}
    with warnings.catch_warnings():
        # The workflow engine reads deprecated attributes of its agents.
        warnings.simplefilter("ignore", DeprecationWarning)
        return {
            arm: {
                position: {
                    name: run(case, arms[arm], png)
                    for name, case in POSITIONS[position](png).items()
                }
                for position in track(positions, description=arm)
            }
            for arm in arms
        }


def tables(outcomes: Outcomes, packages: Mapping[str, str]) -> dict[str, Table]:
    """The table of the documentation."""
    rows = []
    total = {arm: 0 for arm in outcomes}
    for position in outcomes[OURS]:
        cells = []
        for arm, by_position in outcomes.items():
            raw = sum(how == "raw" for how in by_position[position].values())
            total[arm] += raw
            cells.append(_cell(arm, raw))
        rows.append([position, str(len(outcomes[OURS][position])), *cells])
    runs = sum(len(row) for row in outcomes[OURS].values())
    rows.append(["all", str(runs), *(_cell(arm, raw) for arm, raw in total.items())])
    found = ", ".join(f"{name} {number}" for name, number in packages.items())
    return {
        "llama_index_leaks": table(
            ["the picture stands in", "forms", *outcomes],
            rows,
            f"Runs in which the raw image reaches the LLM or the store. Measured with {found}.",
        )
    }


def _cell(arm: str, raw: int) -> str:
    return f"**{raw}**" if arm == OURS else str(raw)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    guard, png = guard_and_picture(parser)
    outcomes = measure(guard, png)
    packages = {name: version(name) for name in PACKAGES}
    made: dict[str, Any] = tables(outcomes, packages)
    write_json(RESULT, {"versions": packages, "tables": made, "outcomes": outcomes})
    Console().print(f"{made['llama_index_leaks']['told']}\nwritten: {RESULT}")


if __name__ == "__main__":
    main()
