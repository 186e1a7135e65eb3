"""The guard's records in the metadata of documents: single values, which vector stores accept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from guardalign_middleware.intake.containers import with_items
from guardalign_middleware.record_seal import SEAL
from guardalign_middleware.verdict_records import METADATA_PREFIX, flat_record, without_records
from langchain_guardalign.verdict_metadata import (
    HOMES,
    merge_records,
    own_records,
    summary,
    with_records,
)

_VERDICTS = f"{METADATA_PREFIX}verdicts"


def with_flat_records(
    metadata: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The metadata with the records of all images of a document, in flat form.

    Beside the fields of `flat_record`, `guardalign_verdicts` always is JSON text of all records
    with their seals, from which they are read again. Records that the guard wrote earlier stay;
    anything else under its keys is dropped.

    Args:
        metadata: of the document.
        records: one for each image that is in the document now.
    """
    rest = without_records(metadata)
    both = merge_records(_known(metadata.get(_VERDICTS)), records)
    if not both:
        return rest
    flat = flat_record([{key: each[key] for key in each if key != SEAL} for each in both])
    text = json.dumps(summary(both)["verdicts"], ensure_ascii=False, allow_nan=False)
    return {**rest, **flat, _VERDICTS: text}


def without_forged(value: Any) -> Any:
    """A document, or a mapping that is written like one or like a message, with our records only.

    Every other value is returned itself, as is one without such records.
    """
    if isinstance(value, Document):
        metadata = with_flat_records(value.metadata, [])
        same = metadata == value.metadata
        return value if same else value.model_copy(update={"metadata": metadata})
    if not isinstance(value, Mapping):
        return value
    changed: dict[str, Any] = {}
    homes = [value[name] for name in HOMES if name in value]  # Most mappings have neither.
    if homes and all(isinstance(home or {}, Mapping) for home in homes):
        changed = with_records(value, [])
    if "page_content" in value and isinstance(value.get("metadata"), Mapping):
        metadata = with_flat_records(value["metadata"], [])
        changed |= {"metadata": metadata} if metadata != value["metadata"] else {}
    return with_items(value, changed) if changed else value


def _known(text: object) -> list[dict[str, Any]]:
    try:
        return own_records({"verdicts": json.loads(text)}) if isinstance(text, str) else []
    except (ValueError, RecursionError):
        return []
