"""The table of docs/cost.md about other defences."""

from __future__ import annotations

from benchmarks.results import RESULTS, read_json
from benchmarks.tables import interval, markdown, unmeasured

_FILE = RESULTS / "peers.json"


def peers() -> str:
    """What each defence costs, relative to the model alone."""
    if not _FILE.is_file():
        return unmeasured("benchmarks.peers")
    data = read_json(_FILE)
    rows = [
        (one["name"], interval(one["ratio"], one["low"], one["high"], ".2f"))
        for one in data["ratios"]
    ]
    note = (
        f"Random weights: {data['models']} ({data['crops']} crops); answers of {data['tokens']} "
        f"tokens, medians of {data['pairs']} pairs (95% interval), CPU time of one thread on an "
        f"{data['processor']}."
    )
    void = " **This run is void: the machine was too noisy.**" if data["void"] else ""
    return f"{markdown(('defence', 'CPU time ÷ the model alone'), rows)}\n\n{note}{void}"
