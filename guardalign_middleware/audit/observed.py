"""What a log of a guard that observes holds for fitting a threshold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from guardalign_middleware.audit.lines import AuditEntry, Head
from guardalign_middleware.audit.verify import read_entries, verify
from guardalign_middleware.errors import AuditError

Distances = tuple[Mapping[str, Mapping[str, float]], ...]
"""The smallest distances of an image, for each encoder by form and category."""

_DISTANCES: TypeAdapter[Distances] = TypeAdapter(tuple[dict[str, dict[str, float]], ...])


@dataclass(frozen=True)
class ObservedImages:
    """The different images of a log, and which lines were left out.

    Attributes:
        images: the distances of each, in the order in which they came first.
        lines: how many lines were read.
        repeated: lines on an image that came before.
        unscanned: lines on images that passed unscanned after a fault.
        enforced: lines of a guard that did not only observe; they hold no distances to fit to.
        first, last: times of the first and the last line read; None without one.
    """

    images: tuple[Distances, ...]
    lines: int
    repeated: int
    unscanned: int
    enforced: int
    first: str | None
    last: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the number of images."""
        return {**vars(self), "images": len(self.images)}


def read_observed(
    path: str | os.PathLike[str],
    key: bytes,
    *,
    encoder: str,
    binding: str,
    start: Head | None = None,
    anchor: Head | None = None,
    since: datetime | None = None,
) -> ObservedImages:
    """The images that a guard has observed, from a log that is intact.

    Args:
        path: the log file.
        key: the key of the log.
        encoder: fingerprint of the encoder that the distances have to be of.
        binding: fingerprint of everything that they have to depend on; of `Evidence`.
        start: as for `verify`.
        anchor: as for `verify`.
        since: lines from before are left out and not counted; None takes all.

    Raises:
        AuditError: the log cannot be read or is not intact, or a line is of another encoder or
            configuration; the message says which is the first.
    """
    report = verify(path, key, anchor=anchor, start=start)
    if not report.intact:
        raise AuditError(
            f"The audit log {path} is not intact: {report.problems[0]}.",
            remedy="Run `guardalign audit verify`. No threshold is fitted to a log that was "
            "changed.",
        )
    found: dict[str, Distances] = {}
    lines = repeated = unscanned = enforced = 0
    first = last = None
    for entry in read_entries(path, key, start=start):
        if since is not None and datetime.fromisoformat(entry.time) < since:
            continue
        lines += 1
        first, last = first or entry.time, entry.time
        _check(entry, encoder, binding)
        if entry.would_be is None:
            enforced += 1
        elif entry.fault is not None:
            unscanned += 1
        elif entry.image in found:
            repeated += 1
        else:
            found[entry.image] = _distances(entry)
    images = tuple(found.values())
    return ObservedImages(images, lines, repeated, unscanned, enforced, first, last)


def _check(entry: AuditEntry, encoder: str, binding: str) -> None:
    """Refuse a line whose distances would mean something else."""
    measured = entry.would_be if entry.fault is None else None
    if entry.encoder != encoder:
        other = "encoder"
    elif measured is not None and measured.get("binding") != binding:
        other = "configuration (concepts, patches, forms, views or transport)"
    else:
        return
    raise AuditError(
        f"Line {entry.number + 1} of the log, of {entry.time}, was written with a different "
        f"{other} than the preset's.",
        remedy="Name the preset of the guard that wrote the log, or leave out what was written "
        "before a change with --since.",
    )


def _distances(entry: AuditEntry) -> Distances:
    try:
        return _DISTANCES.validate_python((entry.would_be or {}).get("distances"), strict=False)
    except ValidationError as error:
        raise AuditError(
            f"Line {entry.number + 1} of the log holds no distances that can be read.",
            remedy="It was written by another version of GuardAlign.",
        ) from error
