"""The part of an entry that describes one image, written by the log and compared by a replay."""

from __future__ import annotations

from typing import Any

from guardalign_middleware.audit.keys import Keys
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import Verdict, WordsRead

Result = Verdict | SanitizedImage
"""A guard's result for one image: the verdict of a scan, or the cleaned image with its verdict."""


def verdict_of(result: Result) -> Verdict:
    """The verdict itself, or the verdict of a cleaned image."""
    return result.verdict if isinstance(result, SanitizedImage) else result


def record_of(result: Result, keys: Keys) -> dict[str, Any]:
    """The fields of `AuditEntry` that depend only on the image and the guard."""
    verdict = verdict_of(result)
    cleaned = result.image if isinstance(result, SanitizedImage) else None
    return {
        "image": keys.of_image(verdict.sha256),
        "width": verdict.width,
        "height": verdict.height,
        "step": "sanitize" if isinstance(result, SanitizedImage) else "scan",
        "decision": verdict.decision,
        "cleaned": None if cleaned is None else keys.of_image(cleaned.sha256),
        "distance": None if verdict.fault is not None else float(verdict.distance),
        "fault": verdict.fault,
        "threshold": float(verdict.threshold) if verdict.decided else None,
        "category": verdict.category,
        "regions": len(verdict.regions),
        "profile": verdict.profile or None,
        "encoder": verdict.evidence.encoder,
        "draw": verdict.evidence.view_seed,
        "words": None if verdict.words is None else _words(verdict.words, keys),
        "would_be": None if verdict.would_be is None else _observed(verdict),
    }


def _observed(verdict: Verdict) -> dict[str, Any]:
    """What would have been decided, and what a threshold can be fitted to."""
    # Imported on use: it needs torch, and reading a log does not.
    from guardalign_middleware.detection.image_distances import distances_by_encoder

    return {
        "decision": verdict.would_be,
        "binding": verdict.evidence.binding,
        "distances": [
            {form: dict(nearest) for form, nearest in one.items()}
            for one in distances_by_encoder(verdict.evidence)
        ],
    }


def _words(words: WordsRead, keys: Keys) -> dict[str, Any]:
    """Counts and a code; never what was read, even where verdicts quote it."""
    return {
        "lines": words.lines,
        "characters": words.characters,
        "unread": words.unread,
        "reader": words.reader,
        "code": keys.of_words(words.sha256),
    }
