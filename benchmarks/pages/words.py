"""The tables of docs/words.md, and of README's part on words."""

from __future__ import annotations

from typing import Any

from benchmarks.results import RESULTS, read_json
from benchmarks.tables import estimate, markdown, unmeasured

_FILE = RESULTS / "words.json"
_GOALS = {
    "FigStep-Tiny": "read ≥ 0.98, flagged ≥ 0.95",
    "harmless pictures of words": "flagged ≤ 0.05",
    "screenshots with an order": "flagged ≥ 0.9",
    "harmless screenshots": "flagged ≤ 0.03",
}


def words() -> str:
    """Reading and finding, by set."""
    if not _FILE.is_file():
        return unmeasured("benchmarks.words.measure --figstep DIR")
    rows = [_row(name, figures) for name, figures in read_json(_FILE)["sets"].items()]
    head = (
        "pictures",
        "goal",
        "n",
        "words read",
        "flagged in mode guard",
        "by form alone",
        "by both classifiers alone",
        "CPU seconds a picture",
    )
    return f"{markdown(head, rows)}\n\nRate (95% Wilson interval); the time is a median."


def words_short() -> str:
    """Reading and finding on the sets with a goal, in the mode that ships."""
    if not _FILE.is_file():
        return unmeasured("benchmarks.words.measure --figstep DIR")
    sets = read_json(_FILE)["sets"]
    rows = [_row(name, sets[name])[:5] for name in _GOALS if name in sets]
    head = ("pictures", "goal", "n", "words read", "flagged in mode guard")
    return f"{markdown(head, rows)}\n\nRate (95% Wilson interval)."


def _row(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    flagged = figures["flagged"]
    return (
        name,
        _GOALS.get(name, ""),
        str(figures["pictures"]),
        estimate(figures["words read"]),
        estimate(flagged["mode guard"]),
        estimate(flagged["any form"]),
        estimate(flagged["any classifier"]),
        f"{figures['median CPU seconds a picture']:.2f}",
    )
