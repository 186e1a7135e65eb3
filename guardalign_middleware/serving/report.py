"""What the guard found in one request, as the field `guardalign` and the headers `x-guardalign-*`.

Numbers, names and places only: no pixels, no text of the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guardalign_middleware.replies import (
    CalibrationReport,
    Dropped,
    GuardedReply,
    Refused,
    dropped_record,
)
from guardalign_middleware.types import SEVERITY, Verdict


def report_of(
    verdicts: Sequence[Verdict],
    *,
    refused: Sequence[Refused] = (),
    dropped: Sequence[Dropped] = (),
    calibration: CalibrationReport | None = None,
) -> dict[str, Any]:
    """The field `guardalign`.

    `decision` is the most severe one of all pictures, and null if there was none. Where something
    was refused or dropped, there are the keys `refused` and `dropped`; and `calibration` once the
    answer is complete.

    Args:
        verdicts: on the pictures, in reading order.
        refused: what could not be checked, so that a notice stands in its place.
        dropped: what held neither text nor a picture.
        calibration: how the answer was generated; None before it was.
    """
    decisions = [verdict.decision for verdict in verdicts]
    if refused:
        decisions.append("block")
    report: dict[str, Any] = {
        "decision": max(decisions, key=SEVERITY.index, default=None),
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "failed_open": sum(verdict.fault is not None for verdict in verdicts),
    }
    if refused:
        report["refused"] = [each.to_json() for each in refused]
    if dropped:
        report["dropped"] = dropped_record(dropped)
    if calibration is not None:
        report["calibration"] = calibration.to_json()
    return report


def report_of_reply(reply: GuardedReply) -> dict[str, Any]:
    """The field `guardalign` of a complete answer."""
    return report_of(
        reply.verdicts,
        refused=reply.refused,
        dropped=reply.dropped,
        calibration=reply.calibration,
    )


def report_headers(report: dict[str, Any]) -> dict[str, str]:
    """The headers for a report; the calibration only where the report has it."""
    headers = {
        "x-guardalign-decision": report["decision"] or "none",
        "x-guardalign-images": str(len(report["verdicts"])),
    }
    if "calibration" in report:
        headers["x-guardalign-calibration"] = report["calibration"]["state"]
    return headers
