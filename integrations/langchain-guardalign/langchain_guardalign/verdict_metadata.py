"""What the metadata of messages, documents and runs say about images: verdicts, never pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guardalign_middleware.types import SEVERITY, Decision, Verdict

METADATA_KEY = "guardalign"
UNREADABLE_RECORD = {"decision": "block", "action": "unreadable"}
"""For a complete image file that the intake policy does not accept; there is no verdict."""


def record_of(verdict: Verdict, action: str) -> dict[str, Any]:
    """The verdict on one image as plain JSON values, with what was done about it."""
    return {**verdict.to_json(), "action": action}


def summary(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The records of all images of one message, document or run, with counts; plain JSON values."""
    return {
        "verdicts": [dict(record) for record in records],
        "masked": sum(record.get("decision") == "mask" for record in records),
        "blocked": sum(record.get("decision") == "block" for record in records),
    }


def worst_decision(records: Sequence[Mapping[str, Any]]) -> Decision:
    """The most severe decision of at least one record."""
    return max((record["decision"] for record in records), key=SEVERITY.index)


def reports_a_block(metadata: Mapping[str, Any]) -> bool:
    """Whether an image was removed from the message under `on_unsafe="block"`.

    A tool can write metadata of its own under the same key, so nothing is assumed about its form.
    """
    written = metadata.get(METADATA_KEY)
    records = written.get("verdicts") if isinstance(written, dict) else None
    return isinstance(records, list) and any(
        isinstance(record, dict) and record.get("action") == "block" for record in records
    )
