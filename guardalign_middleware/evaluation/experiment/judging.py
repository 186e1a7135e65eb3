"""Judging the answers of a run: by any judge, at any time, without generating anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guardalign_middleware.evaluation.experiment.folder import RunFolder
from guardalign_middleware.evaluation.judges import Judge, judge_missing
from guardalign_middleware.evaluation.suites import Item


def judge_answers(
    folder: RunFolder, items: Sequence[Item], judge: Judge, arms: Sequence[str]
) -> Iterator[int]:
    """Judge what arms answered and the judge has not judged; yields how many at a time.

    Raises:
        GuardError: the judge did not answer; what it has judged is stored.
    """
    for arm in arms:
        answers = folder.answers(arm)
        yield from judge_missing(
            judge,
            items,
            {key: record["text"] for key, record in answers.items()},
            folder.judgement_file(judge.name, arm),
            blocked={
                key for key, record in answers.items() if record["finish_reason"] == "blocked"
            },
        )


def unjudged(folder: RunFolder, judge: str, arms: Sequence[str]) -> int:
    """How many stored answers a judge has not judged."""
    return sum(
        len(folder.answers(arm).keys() - folder.judgements(judge, arm).keys()) for arm in arms
    )
