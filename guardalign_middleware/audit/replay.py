"""Whether a verdict in the log is what the guard says about the same image today."""

from __future__ import annotations

from guardalign_middleware.audit.lines import AuditEntry, Keys
from guardalign_middleware.types import CanonicalImage, Verdict


def differences(
    entry: AuditEntry,
    verdict: Verdict,
    image: CanonicalImage,
    key: bytes,
    *,
    tolerance: float = 1e-6,
) -> tuple[str, ...]:
    """The facts of an entry that a new verdict on the same image does not reproduce.

    Args:
        entry: from `read_entries`.
        verdict: a new verdict on `image`.
        image: what the entry is said to be about.
        key: of the log.
        tolerance: by how much the distance may differ, since other hardware rounds otherwise.

    Returns:
        Names of fields of `AuditEntry`; "image" also when the verdict is about another image.

    Raises:
        AuditError: the key is too short.
    """
    same_image = verdict.sha256 == image.sha256
    replayed = {
        "image": Keys(key).of_image(image.sha256) if same_image else None,
        "width": verdict.width,
        "height": verdict.height,
        "decision": verdict.decision,
        "threshold": verdict.threshold,
        "category": verdict.category,
        "regions": len(verdict.regions),
        "profile": verdict.profile,
        "encoder": verdict.evidence.encoder,
    }
    changed = [name for name, value in replayed.items() if getattr(entry, name) != value]
    # Asked this way, a distance that is no number is a difference.
    if not abs(entry.distance - verdict.distance) <= tolerance:
        changed.append("distance")
    return tuple(changed)


def matches(
    entry: AuditEntry,
    verdict: Verdict,
    image: CanonicalImage,
    key: bytes,
    *,
    tolerance: float = 1e-6,
) -> bool:
    """Whether there are no `differences`; the arguments are the same."""
    return not differences(entry, verdict, image, key, tolerance=tolerance)
