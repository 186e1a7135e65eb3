"""Judgements of stored answers, in a file of JSON lines; nothing is generated.

A file holds what one judge says of one set of answers, a line each:

```
{"id": …, "answer_sha256": …, "label": …, "judge": …}
```

with `detail` and `with_echo` where the judgement has them. Of several lines with one id, the last
holds, and only while the answer is the one that was judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, get_args

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.judges.judgement import BLOCKED, Judge, Judgement, Label
from guardalign_middleware.evaluation.lines import append_lines, read_records, unusable
from guardalign_middleware.evaluation.suites.manifest import Item
from guardalign_middleware.evaluation.utility.answers import answered

_PART = 16
_LABELS: tuple[Label, ...] = get_args(Label)


def judge_stored(
    judge: Judge,
    items: Sequence[Item],
    answers: Mapping[str, str],
    path: Path,
    *,
    blocked: Collection[str] = (),
    workers: int = 4,
) -> dict[str, Judgement]:
    """Judge the answers to all items into a file, and go on where an earlier run stopped.

    Args:
        judge: of the answers.
        items: of one split, all of them.
        answers: by their ids.
        path: of the judgements; it is made if it is not there.
        blocked: as for `judge_missing`.
        workers: as for `judge_missing`.

    Raises:
        ConfigError: an answer is missing, or as for `judge_missing`.
        GuardError: the judge did not answer; what it has judged is stored.
    """
    answered(items, answers)
    for _ in judge_missing(judge, items, answers, path, blocked=blocked, workers=workers):
        pass
    found = read_judgements(path, answers)
    return {item.id: found[item.id] for item in items}


def judge_missing(
    judge: Judge,
    items: Sequence[Item],
    answers: Mapping[str, str],
    path: Path,
    *,
    blocked: Collection[str] = (),
    workers: int = 4,
) -> Iterator[int]:
    """Judge what is answered and not yet judged in a file; yields how many at a time.

    Args:
        judge: of the answers.
        items: in the order in which they are judged.
        answers: by their ids; an item without one waits for the next run.
        path: of the judgements.
        blocked: ids of the items that no model answered, because a picture was blocked. That is a
            refusal, whatever the words of the reply are, and the judge is not asked.
        workers: answers that are judged at a time.

    Raises:
        ConfigError: the file cannot be read or written, is another judge's, or workers is below 1.
        GuardError: the judge did not answer; what it has judged is stored.
    """
    if workers < 1:
        raise ConfigError(f"workers should be >= 1. Received {workers}.")
    known = read_judgements(path, answers)
    others = {one.judge for one in known.values()} - {judge.name, BLOCKED}
    if others:
        raise unusable(path, f"is of the judge {min(others)!r}, not of {judge.name!r}")
    waiting = [item for item in items if item.id in answers and item.id not in known]

    def judged(item: Item) -> Judgement:
        if item.id in blocked:
            return Judgement("refusal", BLOCKED, "blocked")
        return judge.judge(item, answers[item.id])

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(waiting), _PART):
            part = waiting[start : start + _PART]
            tasks = [pool.submit(judged, item) for item in part]
            try:
                wait(tasks, return_when=FIRST_EXCEPTION)
            finally:
                for task in tasks:
                    task.cancel()
                wait(tasks)
                found = {
                    item.id: task.result()
                    for item, task in zip(part, tasks, strict=True)
                    if _succeeded(task)
                }
                add_judgements(path, found, answers)
            for task in tasks:
                if not task.cancelled():
                    task.result()
            yield len(part)


def read_judgements(path: Path, answers: Mapping[str, str]) -> dict[str, Judgement]:
    """What a file says of these very answers, by the ids of their items.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    digests = {key: _digest(answer) for key, answer in answers.items()}
    found: dict[str, Judgement] = {}
    for number, record in enumerate(read_records(path), 1):
        label, with_echo = record.get("label"), record.get("with_echo")
        judge, detail = record.get("judge"), record.get("detail")
        if (
            label not in _LABELS
            or with_echo not in (*_LABELS, None)
            or not isinstance(judge, str)
            or not isinstance(detail, str | None)
        ):
            raise unusable(path, f"has no judgement in line {number}")
        key = record["id"]
        if digests.get(key, "") == record.get("answer_sha256"):
            found[key] = Judgement(label, judge, detail, with_echo)
    return found


def add_judgements(
    path: Path, judgements: Mapping[str, Judgement], answers: Mapping[str, str]
) -> None:
    """Append one judge's judgements of these answers to its file.

    Raises:
        ConfigError: the file cannot be written.
    """
    append_lines(path, [_record(key, answers[key], one) for key, one in judgements.items()])


def _record(key: str, answer: str, found: Judgement) -> dict[str, Any]:
    said = {name: value for name, value in vars(found).items() if value is not None}
    return {"id": key, "answer_sha256": _digest(answer), **said}


def _succeeded(task: Future[Judgement]) -> bool:
    return not task.cancelled() and task.exception() is None


def _digest(answer: str) -> str:
    return hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()
