"""The figures of docs/scale.md about one machine."""

from __future__ import annotations

from typing import Any

from benchmarks.results import RESULTS, read_json
from benchmarks.tables import interval, markdown, unmeasured

_SOAK, _SOAK_RAY = RESULTS / "bulk_soak.json", RESULTS / "bulk_soak_ray.json"
_THROUGHPUT = RESULTS / "bulk_throughput.json"


def bulk_soak() -> str:
    """The long scans that were killed twice."""
    if not _SOAK.is_file():
        return unmeasured("benchmarks.bulk.soak DIR")
    found = {"processes": read_json(_SOAK)}
    if _SOAK_RAY.is_file():
        found["actors of Ray"] = read_json(_SOAK_RAY)
    columns = [_soak_figures(data) for data in found.values()]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    data = found["processes"]
    where = f"on two cores of an {data['processor']}, with other work"
    note = f"{data['workers']} {' and as many '.join(found)} {where}."
    return f"{markdown(('', *found), rows)}\n\n{note}"


def _soak_figures(data: dict[str, Any]) -> dict[str, str]:
    return {
        "pictures, each once in the results": f"{data['n']:,}",
        "damaged, each a line with its error": f"{data['error']:,}",
        "pictures a second": f"{data['n'] / data['seconds']:.0f}",
        "memory of all processes, at most": f"{data['peak_mb']:,.0f} MB",
        "growth in 100,000 pictures": f"{data['mb_per_100000']:.0f} MB",
    }


def bulk_throughput() -> str:
    """The pool and the encoder alone."""
    if not _THROUGHPUT.is_file():
        return unmeasured("benchmarks.bulk.throughput")
    data = read_json(_THROUGHPUT)
    goals = {"encoder ÷ pool": f"≥ {data['goal']:g}"}
    rows = [
        (
            one["name"],
            interval(one["ratio"], one["low"], one["high"]),
            goals.get(one["name"], ""),
        )
        for one in data["comparisons"]
    ]
    pairs = data["comparisons"][0]["pairs"]
    note = (
        f"{data['model']} with random weights, {data['crops']} crops of each JPEG of 1200 × 1200 "
        f"pixels; CPU time of all processes, medians of {pairs} pairs (95% interval), "
        f"{data['workers']} processes on an {data['processor']}."
    )
    return f"{markdown(('CPU time', 'ratio', 'goal'), rows)}\n\n{note}"
