"""The guard's records in the metadata of messages, documents and nodes.

Vector stores accept metadata of single values only, so a record also has a flat form there. Records
hold verdicts and never pixels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.replies import Refused
from guardalign_middleware.types import SEVERITY, WOULD_BE

Scalar = str | int | float | bool
METADATA_KEY: Final = "guardalign"
METADATA_PREFIX: Final = "guardalign_"


def flat_record(records: Sequence[Mapping[str, Any]]) -> dict[str, Scalar]:
    """The records of all images of one document or node as flat metadata.

    Chroma, LanceDB and LlamaIndex's stores take every value as it is: strings, finite numbers and
    booleans. What is unknown, such as the distance of an image that was not scanned, is left out.

    Args:
        records: one mapping for each image, as `Verdict.to_json` makes them; further keys such as
            `action` may stand beside.

    Returns:
        The fields of the most severe record (`guardalign_decision`, `guardalign_category`,
        `guardalign_distance`, `guardalign_threshold`, `guardalign_profile`, …; `guardalign_regions`
        is JSON text), and the counts `guardalign_images`, `guardalign_masked` and
        `guardalign_blocked`. With several images, `guardalign_verdicts` is JSON text of all the
        records. Empty without records.
    """
    if not records:
        return {}
    worst = max(records, key=record_severity)
    decisions = [record.get("decision") for record in records]
    flat: dict[str, Scalar] = {}
    for key, value in worst.items():
        if (scalar := _scalar(value)) is not None:
            flat[METADATA_PREFIX + key] = scalar
    flat[f"{METADATA_PREFIX}images"] = len(records)
    flat[f"{METADATA_PREFIX}masked"] = decisions.count("mask")
    flat[f"{METADATA_PREFIX}blocked"] = decisions.count("block")
    if len(records) > 1:
        flat[f"{METADATA_PREFIX}verdicts"] = _json([dict(record) for record in records])
    return flat


def refusal_record(error: GuardAlignError) -> dict[str, str]:
    """The record of an input that could not be checked, so that there is no verdict on it."""
    record = Refused.by(error, "").to_json()
    return {key: value for key, value in record.items() if key != "place"}


def is_record_key(key: object) -> bool:
    """Whether a metadata key belongs to the guard, in either form."""
    return isinstance(key, str) and (key == METADATA_KEY or key.startswith(METADATA_PREFIX))


def without_records(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without the guard's keys: what came in under them proves nothing."""
    return {key: value for key, value in metadata.items() if not is_record_key(key)}


def record_severity(record: Mapping[str, Any]) -> tuple[int, int]:
    """Sort key of a record, worst last; of observed ones, what would have been done counts."""
    decision, would_be = record.get("decision"), record.get("would_be")
    # A decision of an unknown name is not taken for a mild one.
    severity = SEVERITY.index(decision) if decision in SEVERITY else len(SEVERITY)
    return severity, WOULD_BE.index(would_be) if would_be in WOULD_BE else 0


def _scalar(value: object) -> Scalar | None:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value is None else _json(value)


def _json(value: object) -> str:
    """Valid JSON: no NaN, and no value that JSON does not know."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
