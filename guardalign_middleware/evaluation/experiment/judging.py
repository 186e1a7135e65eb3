"""Judging stored answers: by any judge, at any time, without generating anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guardalign_middleware.evaluation.experiment.folder import RunFolder
from guardalign_middleware.evaluation.judges import Judge, Judgement
from guardalign_middleware.evaluation.suites import Item

BLOCKED = "the guard"
"""Named as the judge where no model answered, because a picture was blocked."""
_PART = 16


def judge_answers(
    folder: RunFolder, items: Sequence[Item], judge: Judge, arms: Sequence[str]
) -> Iterator[int]:
    """Judge what is answered and not yet judged by this judge; yields how many at a time.

    The reply to a blocked picture is a refusal, whatever its words are, and no judge is asked.

    Raises:
        GuardError: the judge did not answer; what it has judged is stored.
    """
    for arm in arms:
        answers = folder.answers(arm)
        known = folder.judgements(judge.name, arm)
        open_items = [item for item in items if item.id in answers and item.id not in known]
        for start in range(0, len(open_items), _PART):
            records: list[dict[str, Any]] = []
            try:
                for item in open_items[start : start + _PART]:
                    records.append(_record(item.id, _judged(item, answers[item.id], judge)))
            finally:
                folder.add_judgements(judge.name, arm, records)
            yield len(records)


def unjudged(folder: RunFolder, judge: str, arms: Sequence[str]) -> int:
    """How many stored answers a judge has not judged."""
    return sum(
        len(folder.answers(arm).keys() - folder.judgements(judge, arm).keys()) for arm in arms
    )


def _judged(item: Item, answer: Mapping[str, Any], judge: Judge) -> Judgement:
    if answer["finish_reason"] == "blocked":
        return Judgement("refusal", BLOCKED, "blocked")
    return judge.judge(item, answer["text"])


def _record(key: str, found: Judgement) -> dict[str, Any]:
    record = {"id": key, "label": found.label, "judge": found.judge}
    if found.detail is not None:
        record["detail"] = found.detail
    if found.with_echo is not None:
        record["with_echo"] = found.with_echo
    return record
