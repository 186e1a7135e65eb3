"""Whether a verdict in the log is what the guard says about the same image today."""

from __future__ import annotations

import os
from collections.abc import Iterator

from guardalign_middleware.audit.lines import AuditEntry, Keys
from guardalign_middleware.audit.record import Result, facts_of, verdict_of
from guardalign_middleware.audit.verify import read_entries
from guardalign_middleware.types import CanonicalImage


def entries_of(
    path: str | os.PathLike[str], image: CanonicalImage, key: bytes
) -> Iterator[AuditEntry]:
    """The entries of a log that are about an image, by its pixels; errors as of `read_entries`."""
    code = Keys(key).of_image(image.sha256)
    return (entry for entry in read_entries(path, key) if entry.image == code)


def differences(
    entry: AuditEntry,
    result: Result,
    image: CanonicalImage,
    key: bytes,
    *,
    tolerance: float = 1e-6,
) -> tuple[str, ...]:
    """The facts of an entry that a new result on the same image does not reproduce.

    Args:
        entry: from `read_entries`.
        result: what a guard says now, with `view_seed=entry.draw`: a verdict on `image` where
            `entry.step` is `scan`, and a cleaned image where it is `sanitize`.
        image: what the entry is said to be about.
        key: of the log.
        tolerance: by how much the distance may differ, since other hardware rounds otherwise.

    Returns:
        Names of fields of `AuditEntry`; "image" also when the result is about another image.

    Raises:
        AuditError: the key is too short.
    """
    facts = facts_of(result, Keys(key))
    if verdict_of(result).sha256 != image.sha256:
        facts["image"] = None
    distance = facts.pop("distance")
    changed = [name for name, value in facts.items() if getattr(entry, name) != value]
    if None in {entry.distance, distance}:
        same = entry.distance is distance
    else:
        # Asked this way, a distance that is no number is a difference.
        same = abs(entry.distance - distance) <= tolerance
    return tuple(changed) if same else (*changed, "distance")


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
