"""Copies of earlier scans that stand where this scan lets nothing through."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from guardalign_middleware.bulk.job import Outcome
from guardalign_middleware.bulk.places import possible


def old_copies(folder: Path, outcome: Outcome, stems: Mapping[str, str]) -> Iterator[Path]:
    """What stands at the places of the copies that an input does not have, and is not the input.

    Nothing is removed: by its name alone, a file may be anybody's.

    Args:
        folder: of all copies.
        outcome: of the input.
        stems: of copies that get another ending; see `places.distinct`.
    """
    for place in _without_copy(outcome):
        frames = [place] if os.path.isdir(folder / place) else []
        for one in [*sorted(possible(place, stems.get(place, place))), *frames]:
            path = folder / one
            if os.path.lexists(path) and not _same(path, outcome.source):
                yield path


def _without_copy(outcome: Outcome) -> Iterator[str]:
    copies = [record.get("copy") for record in outcome.records]
    if outcome.place is None:
        return
    if not any(copies):
        yield outcome.place
    elif len(copies) > 1:
        for number, copy in enumerate(copies, start=1):
            if copy is None:
                yield f"{outcome.place}/{number}"


def _same(path: Path, source: str) -> bool:
    try:
        return os.path.samefile(path, source)
    except (OSError, ValueError):
        return False
