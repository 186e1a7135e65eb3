"""The answers to the items of a suite, all of them and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.suites.manifest import Item


def answered(items: Sequence[Item], answers: Mapping[str, str]) -> list[tuple[Item, str]]:
    """Each item with its answer.

    Raises:
        ConfigError: there are no items, one has no answer, or an answer is of none.
    """
    if not items:
        raise ConfigError("There are no items to score.", remedy="Load a suite first.")
    known = {item.id for item in items}
    missing = [item.id for item in items if item.id not in answers]
    unknown = [name for name in answers if name not in known]
    if missing or unknown:
        what, names = ("without an answer", missing) if missing else ("unknown", unknown)
        raise ConfigError(
            f"{len(names)} ids are {what}, the first is {names[0]}.",
            remedy="Score all items of one split, and no others.",
        )
    return [(item, answers[item.id]) for item in items]
