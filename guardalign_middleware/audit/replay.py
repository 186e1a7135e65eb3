"""Comparing a logged verdict with the guard's verdict on the same image today."""

from __future__ import annotations

import os
from collections.abc import Iterator

from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.audit.lines import AuditEntry, Head
from guardalign_middleware.audit.record import Result, record_of, verdict_of
from guardalign_middleware.audit.verify import read_entries
from guardalign_middleware.types import CanonicalImage


def entries_of(
    path: str | os.PathLike[str],
    image: CanonicalImage,
    key: bytes,
    *,
    start: Head | None = None,
) -> Iterator[AuditEntry]:
    """The entries about an image, found by its pixels; errors are those of `read_entries`."""
    code = Keys(key).of_image(image.sha256)
    return (entry for entry in read_entries(path, key, start=start) if entry.image == code)


def differences(
    entry: AuditEntry,
    result: Result,
    image: CanonicalImage,
    key: bytes,
    *,
    tolerance: float = 1e-6,
) -> tuple[str, ...]:
    """The fields of an entry that a new result on the same image does not reproduce.

    Args:
        entry: an entry from `read_entries`.
        result: a guard's result now, with the entry's views (`view_seed=entry.draw`): a verdict on
            `image` if `entry.step` is `scan`, a cleaned image if it is `sanitize`.
        image: the image that the entry should be about.
        key: the key of the log.
        tolerance: accepted difference of the distance, because hardware differs in rounding.

    Returns:
        Names of fields of `AuditEntry`; "image" also if the result is about a different image.

    Raises:
        AuditError: the key is too short.
    """
    record = record_of(result, Keys(key))
    if verdict_of(result).sha256 != image.sha256:
        record["image"] = None
    measured = {name: record.pop(name) for name in ("distance", "would_be")}
    changed = [name for name, value in record.items() if getattr(entry, name) != value]
    changed += [
        name
        for name, value in measured.items()
        if not _close(getattr(entry, name), value, tolerance)
    ]
    return tuple(changed)


def _close(one: object, other: object, tolerance: float) -> bool:
    """Whether two JSON values are equal, and their numbers nearly so."""
    if isinstance(one, float) and isinstance(other, float):
        # NaN fails this comparison and so counts as a difference.
        return abs(one - other) <= tolerance
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _close(value, other[name], tolerance) for name, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _close(*pair, tolerance) for pair in zip(one, other, strict=True)
        )
    return one == other


def matches(
    entry: AuditEntry,
    result: Result,
    image: CanonicalImage,
    key: bytes,
    *,
    tolerance: float = 1e-6,
) -> bool:
    """Whether there are no `differences`; the arguments are the same."""
    return not differences(entry, result, image, key, tolerance=tolerance)
