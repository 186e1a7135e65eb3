"""Answering the items of a suite by several arms, item by item, and only those not yet answered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.evaluation.arms import Answered, Arm, Asked
from guardalign_middleware.evaluation.experiment.folder import RunFolder
from guardalign_middleware.evaluation.suites import Item
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart, Verdict

if TYPE_CHECKING:
    from guardalign_middleware.guard import GuardAlign
    from guardalign_middleware.sanitize import SanitizedImage


@dataclass(frozen=True)
class Failure:
    """An item that an arm could not answer; the next run asks it again."""

    arm: str
    item: str
    error: GuardAlignError


@dataclass(frozen=True)
class Step:
    """What came of a part of the items with one arm."""

    arm: str
    answered: int
    failures: tuple[Failure, ...]


def missing(folder: RunFolder, items: Sequence[Item], arms: Sequence[str]) -> int:
    """How many answers a run lacks."""
    known = {arm: folder.answers(arm).keys() for arm in arms}
    return sum(item.id not in known[arm] for item in items for arm in arms)


def run_arms(
    folder: RunFolder, items: Sequence[Item], chain: GuardAlign, arms: Mapping[str, Arm]
) -> Iterator[Step]:
    """Ask every arm every item that it has not answered, and store each part as it comes.

    All arms answer a part of the items before the next begins, so that a picture is scanned once
    for all of them. That scan counts towards the cost of every arm that has its pictures scanned.

    Raises:
        OSError: a picture is gone since the suite was loaded.
        ConfigError: answers cannot be stored.
    """
    known = {name: set(folder.answers(name)) for name in arms}
    scanned = folder.scans()
    size = chain.runner.config.batch_size
    for start in range(0, len(items), size):
        part = items[start : start + size]
        lacking = {name: [item for item in part if item.id not in known[name]] for name in arms}
        wanted = {item.id for some in lacking.values() for item in some}
        asked, refused = _conversations(chain, [item for item in part if item.id in wanted])
        shown = {
            item.id for name in arms if arms[name].scans for item in lacking[name]
        } & asked.keys()
        _scan(folder, chain, {key: asked[key] for key in asked if key in shown}, scanned)
        for name, some in lacking.items():
            if not some:
                continue
            failures = [Failure(name, key, error) for key, error in refused.items()]
            able = [item.id for item in some if item.id in asked]
            records, failed = _answers(name, arms[name], {key: asked[key] for key in able})
            for record in records if arms[name].scans else ():
                record["seconds"] += scanned.get(record["id"], {}).get("seconds", 0.0)
            folder.add_answers(name, records)
            known[name].update(record["id"] for record in records)
            yield Step(name, len(records), (*failures, *failed))


def _conversations(
    chain: GuardAlign, items: Sequence[Item]
) -> tuple[dict[str, Asked], dict[str, GuardAlignError]]:
    """One user turn for each item, or why its pictures are refused."""
    asked: dict[str, Asked] = {}
    refused: dict[str, GuardAlignError] = {}
    for item in items:
        try:
            pictures = [chain.guard.load(data) for data in item.read_images()]
        except GuardAlignError as error:
            refused[item.id] = error
            continue
        parts: tuple[ImagePart | TextPart, ...] = (
            *map(ImagePart, pictures),
            TextPart(item.prompt),
        )
        asked[item.id] = (Message("user", parts),)
    return asked, refused


def _scan(
    folder: RunFolder,
    chain: GuardAlign,
    asked: Mapping[str, Asked],
    scanned: dict[str, dict[str, Any]],
) -> None:
    """Scan and clean the pictures of the items, which the guard remembers; store what is new."""
    pictures = {key: each[0].images for key, each in asked.items() if each[0].images}
    found = _scans(chain, pictures)
    new = [record for key, record in found.items() if key not in scanned]
    scanned.update((record["id"], record) for record in new)
    folder.add_scans(new)


def _scans(
    chain: GuardAlign, pictures: Mapping[str, tuple[CanonicalImage, ...]]
) -> dict[str, dict[str, Any]]:
    """Scan together; if that fails, item by item, so that one picture hides no other's scan.

    Each arm says of an item that cannot be scanned what is wrong with it.
    """
    every = [image for some in pictures.values() for image in some]
    if not every:
        return {}
    begun = time.perf_counter()
    try:
        cleaned = iter(chain.guard.sanitize_many(every))
    except GuardAlignError:
        if len(pictures) == 1:
            return {}
        return {
            name: record
            for key, some in pictures.items()
            for name, record in _scans(chain, {key: some}).items()
        }
    each = (time.perf_counter() - begun) / len(every)
    return {
        key: {
            "id": key,
            "seconds": each * len(some),
            "images": [_verdict(next(cleaned)) for _ in some],
        }
        for key, some in pictures.items()
    }


def _verdict(item: SanitizedImage) -> dict[str, Any]:
    record = item.verdict.to_json() | {"sha256": item.verdict.sha256}
    del record["source"]
    return record | {
        "ratio": smallest_ratio(item.verdict),
        "boxes": [list(box) for box in item.boxes],
        "masked_fraction": item.masked_fraction,
        "rounds": item.rounds,
    }


def smallest_ratio(verdict: Verdict) -> float | None:
    """The smallest distance over its threshold: at which multiple of all thresholds it is unsafe.

    It is of another patch than the verdict's distance where forms and categories have thresholds of
    their own, since that one has the smallest difference. None where there is no such patch.
    """
    distances, thresholds = verdict.evidence.patch_distances, verdict.patch_thresholds
    positive = thresholds > 0
    ratios = distances[positive] / thresholds[positive]
    return float(ratios.min()) if ratios.size and not np.isnan(ratios).any() else None


def _answers(
    name: str, arm: Arm, asked: Mapping[str, Asked]
) -> tuple[list[dict[str, Any]], list[Failure]]:
    """Answer together; if that fails, one by one, so that one item does not stop the others."""
    if not asked:
        return [], []
    begun = time.perf_counter()
    try:
        found = arm.answer(list(asked.values()))
    except GuardAlignError as error:
        if len(asked) == 1:
            return [], [Failure(name, next(iter(asked)), error)]
        records: list[dict[str, Any]] = []
        failures: list[Failure] = []
        for key, each in asked.items():
            alone, failed = _answers(name, arm, {key: each})
            records += alone
            failures += failed
        return records, failures
    seconds = (time.perf_counter() - begun) / len(asked)
    return [_record(key, one, seconds) for key, one in zip(asked, found, strict=True)], []


def _record(key: str, answer: Answered, seconds: float) -> dict[str, Any]:
    return {"id": key, **answer.to_json(), "seconds": seconds}
