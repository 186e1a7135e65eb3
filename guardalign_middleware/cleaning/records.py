"""What metadata say about each image of a value: plain JSON values, never pixels."""

from __future__ import annotations

from typing import Any

from guardalign_middleware.errors import GuardAlignError, ImageRejected
from guardalign_middleware.types import Verdict


def record_of(verdict: Verdict, action: str) -> dict[str, Any]:
    """The verdict on one image as plain JSON values, with what was done about it."""
    return {**verdict.to_json(), "action": action}


def refused_record(error: GuardAlignError) -> dict[str, Any]:
    """For what was taken out because it cannot be checked; `reason` is that of `ImageRejected`."""
    reason = error.reason if isinstance(error, ImageRejected) else "unreadable"
    return {"decision": "block", "action": "refused", "reason": reason}


def unscanned_record(media: str | None) -> dict[str, Any]:
    """For what passed unread by `allow_unscanned`."""
    return {"decision": "allow", "action": "unscanned", "media": media}
