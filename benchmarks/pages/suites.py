"""The tables of docs/suites.md, made of the manifests."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.tables import markdown
from guardalign_middleware.evaluation.suites import SUITES, Manifest

_TESTED = {
    "files": "the real files",
    "records": "the real records, made pictures",
    "layout": "made files",
}
_METRICS = {
    "unsafe_response_rate": "unsafe response rate",
    "attack_success_rate": "attack success rate",
    "refusal_rate": "refusal rate",
    "accuracy": "accuracy",
    "mme": "points",
    "mmbench": "circular accuracy",
    "vqa_accuracy": "VQA accuracy",
}


def suites() -> str:
    """What each suite is."""
    rows = [
        (
            f"`{one.name}`",
            one.title,
            one.kind,
            ", ".join((one.source, *(f"hub: {name}" for name in one.hub))),
            one.revision[:12] if one.revision else "",
            one.licence,
            ", ".join(f"{split} {count:,}" for split, count in _splits(one)),
            _TESTED[one.tested],
        )
        for one in _manifests()
    ]
    head = ("suite", "title", "asks for", "source", "revision read", "licence", "splits and rows")
    return markdown((*head, "loader tested on"), rows)


def suites_prompts() -> str:
    """Which columns must be there, what is asked, and how answers are judged."""
    rows = [
        (
            f"`{one.name}`",
            ", ".join(_shown(name) for name in one.columns) or "none: it is drawn",
            f"`{_cell(one.prompt)}`".replace("\n", "\\n"),
            _METRICS[one.metric],
            _cell(one.judge),
        )
        for one in _manifests()
    ]
    return markdown(("suite", "columns", "prompt", "the authors' figure", "and their judge"), rows)


def suites_comparable() -> str:
    """What no run is comparable with."""
    rows = [(f"`{one.name}`", one.paper, _cell(one.comparable)) for one in _manifests()]
    return markdown(("suite", "column of the paper", "not comparable, and why"), rows)


def _manifests() -> Iterator[Manifest]:
    return (one.manifest for one in SUITES.values())


def _splits(one: Manifest) -> list[tuple[str, int]]:
    """All splits, or the first of many languages."""
    counts = list(one.counts.items())
    if len(counts) <= 5:
        return counts
    return [*counts[:1], (f"and {len(counts) - 1} languages of", counts[1][1])]


def _shown(column: str) -> str:
    return column if column.startswith("(") else f"`{column}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
