"""What the metadata of messages, documents and runs say about images: verdicts, never pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guardalign_middleware.record_seal import SEAL, is_own, sealed
from guardalign_middleware.types import SEVERITY, Decision
from guardalign_middleware.verdict_records import METADATA_KEY as METADATA_KEY
from guardalign_middleware.verdict_records import is_record_key, without_records

HOMES = ("response_metadata", "additional_kwargs")
_COUNTED = frozenset({"verdicts", "masked", "blocked", "refused", "unscanned"})


def summary(records: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """The records of all images of one message, document or run, with counts; plain JSON values.

    Args:
        records: one for each image.
        more: further entries, such as that of the calibration.
    """
    counts = {
        action: sum(record.get("action") == action for record in records)
        for action in ("refused", "unscanned")
    }
    about = {
        "verdicts": [dict(record) if is_own(record) else sealed(record) for record in records],
        "masked": sum(record.get("decision") == "mask" for record in records),
        "blocked": sum(record.get("decision") == "block" for record in records),
        **{action: count for action, count in counts.items() if count},
    }
    return {**about, **sealed(more)} if more else about


def message_fields(records: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """The fields of a message with these records: its two metadata, without anything else.

    The verdicts are in both, since `merge_message_runs` clears the `response_metadata` of all
    messages but the first.
    """
    about = summary(records, **more)
    fields = {"response_metadata": {METADATA_KEY: about}}
    if records:
        fields["additional_kwargs"] = {METADATA_KEY: {"verdicts": about["verdicts"]}}
    return fields


def with_records(
    fields: Mapping[str, Any], records: Sequence[Mapping[str, Any]], *, instead: bool = False
) -> dict[str, dict[str, Any]]:
    """The metadata of a message, as far as they change, after images were found in it.

    The guard's earlier records stay, also where the image is a notice now; anything else under the
    guard's keys is dropped.

    Args:
        fields: of the message, with `response_metadata` and `additional_kwargs`.
        records: one for each image that is in the message now.
        instead: whether these, if there are any, take the place of earlier ones.
    """
    homes = {name: fields.get(name) or {} for name in HOMES}
    if not records and not any(is_record_key(key) for home in homes.values() for key in home):
        return {}
    written = [home.get(METADATA_KEY) for home in homes.values()]
    known = [] if instead and records else _both(*map(own_records, written))
    both = merge_records(known, records)
    more = _own_entries(written[0])
    new = message_fields(both, **more) if both or more else {}
    changed = {name: {**without_records(home), **new.get(name, {})} for name, home in homes.items()}
    return {name: home for name, home in changed.items() if home != homes[name]}


def without_images(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The metadata of a message without the records of images, as far as they change."""
    homes = {name: fields.get(name) or {} for name in HOMES}
    told = {name: home for name, home in homes.items() if METADATA_KEY in home}
    return {
        name: without_records(home)
        | ({METADATA_KEY: sealed(more)} if (more := _own_entries(home[METADATA_KEY])) else {})
        for name, home in told.items()
    }


def own_records(written: object) -> list[dict[str, Any]]:
    """The records under the guard's key that the guard has written itself."""
    records = written.get("verdicts") if isinstance(written, Mapping) else None
    return [dict(each) for each in records if is_own(each)] if isinstance(records, list) else []


def merge_records(
    known: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The known records, and those of images that none of them tells of.

    An unsafe image needs a record that is equal. A safe one may be what the guard has made of an
    image with a record, so any record of an image that was kept stands for it.
    """
    rest, missing = [*known], []
    for record in found:
        # An equal record of a safe image goes first: any other could stand for it as well.
        equal = next((each for each in rest if _facts(each) == _facts(record)), None)
        if equal is not None and _safe(record):
            rest.remove(equal)
        else:
            missing.append(record)
    added = []
    for record in missing:
        safe = _safe(record)
        told = (each for each in rest if _facts(each) == _facts(record) or (safe and _kept(each)))
        if (known_as := next(told, None)) is None:
            added.append(record)
        else:
            rest.remove(known_as)
    return [dict(record) for record in (*known, *added)]


def worst_decision(records: Sequence[Mapping[str, Any]]) -> Decision:
    """The most severe decision of at least one record."""
    return max((record["decision"] for record in records), key=SEVERITY.index)


def _own_entries(written: object) -> dict[str, Any]:
    """The further entries of a summary, if the guard has written them."""
    if not isinstance(written, Mapping):
        return {}
    more = {key: value for key, value in written.items() if key not in _COUNTED}
    return {key: value for key, value in more.items() if key != SEAL} if is_own(more) else {}


def _both(
    first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The records of both lists, which usually are the same ones."""
    rest = [*first]
    more = []
    for record in second:
        rest.remove(record) if record in rest else more.append(record)
    return [*first, *more]


def _safe(record: Mapping[str, Any]) -> bool:
    return "allow" in {record.get("decision"), record.get("would_be")}


def _kept(record: Mapping[str, Any]) -> bool:
    """Whether the image is still in the message, and was cleaned if it was unsafe."""
    return record.get("action") in {"mask", "none"}


def _facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """Without the place, which another message or another history changes."""
    return {key: value for key, value in record.items() if key not in {"source", SEAL}}
