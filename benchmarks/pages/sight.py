"""The tables of what the miniature guard still finds, and of how its masks lie."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.results import RESULTS, read_json
from benchmarks.tables import estimate, markdown, unmeasured

SIGHT, MASKS = RESULTS / "mini_sight.json", RESULTS / "mini_masks.json"
_COMMAND = "benchmarks.mini.sight"


def sight() -> str:
    """Changed pictures, sizes of things, and look-alikes, at the shipped profile."""
    if not SIGHT.is_file():
        return unmeasured(_COMMAND)
    data = read_json(SIGHT)
    rows = [
        (
            row["row"],
            escape(row["goal"]),
            str(_first(row)["n"]),
            "; ".join(f"{name} {estimate(value)}" for name, value in row["figures"].items()),
        )
        for row in data["rows"]
    ]
    note = f"Figure (95% interval). Photographs: {', '.join(data['photographs'])}.{_promise(data)}"
    return f"{markdown(('pictures', 'goal', 'scenes', 'figures'), rows)}\n\n{note}"


_SHORT = {
    "enlarged ×2 to ×12": "enlarged",
    "stretched ×2 to ×8, wide and high": "stretched",
    "squashed to 256×64": "squashed",
    "a thing of 24 to 300 px": ("24 px", "60 px", "150 px", "220 px", "300 px"),
    "a thing of 16 px": "16 px",
    "turned by 90 and 180 degrees": "turned",
    "grey": "grey",
    "half covered": "half covered",
    "on a photograph": "on a photograph",
    "look-alikes never trained on": "look-alikes",
    "an unsafe thing in their company": "an unsafe thing",
    "mix of all, safe": "mix, safe",
    "mix of all, unsafe": "mix, unsafe",
}
"""What a line of the short table is called, and how the names of its rows begin."""


def sight_short(file: Path = SIGHT) -> str:
    """`sight` in few lines: of rows of one kind, the worst."""
    if not file.is_file():
        return unmeasured(_COMMAND)
    data = read_json(file)
    rows = []
    for name, starts in _SHORT.items():
        found = [row for row in data["rows"] if row["row"].startswith(starts)]
        if not found:
            continue
        kind, values = next(iter(found[0]["figures"])), [_first(row) for row in found]
        alarms = kind == "false alarms"
        worst = (max if alarms else min)(values, key=lambda value: value["value"])
        goal = escape(found[0]["goal"])
        rows.append((name, kind, goal, estimate(worst)))
    note = f"The worst row of each kind, of {data['n']} scenes a row.{_promise(data)}"
    return f"{markdown(('pictures', 'figure', 'goal', 'value (95% interval)'), rows)}\n\n{note}"


def _first(row: Mapping[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = next(iter(row["figures"].values()))
    return value


def masks() -> str:
    """How masks cover and hug things of each size."""
    if not MASKS.is_file():
        return unmeasured("benchmarks.mini.masks")
    data = read_json(MASKS)["rows"]
    head = ("unsafe", *next(iter(data.values())))
    rows = [
        (row, *("" if value is None else estimate(value) for value in values.values()))
        for row, values in data.items()
    ]
    return markdown(head, rows)


def _promise(data: Mapping[str, Any]) -> str:
    """Whether the profile's promised rate lies within the interval measured on fresh scenes."""
    mix = [row["figures"]["false alarms"] for row in data["rows"] if row["row"] == "mix, safe"]
    if not mix or data["promised"] is None:
        return ""
    measured, promised = mix[0], data["promised"]
    kept = "within" if measured["low"] <= promised <= measured["high"] else "outside"
    if measured["high"] < promised:
        kept = "above"
    return (
        f" The profile promises at most {promised:.1%} false alarms on the mix, which is {kept} "
        f"the interval measured on fresh scenes of it: {estimate(measured)}."
    )
