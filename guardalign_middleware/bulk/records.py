"""The JSON lines of a scan, and the exit status that each means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from guardalign_middleware.types import PASSES, Verdict

ALLOWED: Final = 0
UNSAFE: Final = 1
CANNOT: Final = 2


def to_json_line(value: Mapping[str, Any], encoding: str = "utf-8") -> str:
    """One JSON object on one line, without NaN, which is not JSON.

    What could end the line, move a cursor or not be encoded becomes a JSON escape.
    """
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not line.isprintable():
        line = "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in line)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = json.dumps(value, allow_nan=False)
    return f"{line}\n"


def status_of(record: Mapping[str, Any]) -> int:
    """The exit status for one image that was scanned, by its line of JSON."""
    # Even if a fault allows it, it was not scanned.
    if "error" in record or "fault" in record:
        return CANNOT
    return ALLOWED if record["decision"] in PASSES else UNSAFE


def to_record(
    verdict: Verdict,
    source: str,
    number: int = 1,
    count: int = 1,
    unit: Literal["frame", "page"] = "frame",
) -> dict[str, Any]:
    """The JSON line of an image.

    Args:
        verdict: on it.
        source: name of the input that it is of; the label of a verdict ends with the number of a
            frame or a page, as the name of another file may.
        number: of the frame or page, from 1.
        count: how many there are.
        unit: what is counted; a single frame is not.
    """
    record = verdict.to_json() | {"source": source, "sha256": verdict.sha256}
    return record if unit == "frame" and count == 1 else record | {unit: number, f"{unit}s": count}
