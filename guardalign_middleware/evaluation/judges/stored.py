"""Stored answers, judged again by any judge without generating: one JSON line an answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TextIO, get_args

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.judges.judgement import Judge, Judgement, Label
from guardalign_middleware.evaluation.suites.manifest import Item
from guardalign_middleware.evaluation.utility.answers import answered


def write_answers(path: Path, answers: Mapping[str, str]) -> None:
    """Store answers by the ids of their items.

    Raises:
        OSError: the file cannot be written.
    """
    lines = [json.dumps({"id": name, "answer": text}) for name, text in answers.items()]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_answers(path: Path) -> dict[str, str]:
    """Stored answers by the ids of their items.

    Raises:
        ConfigError: the file cannot be read, or has an id twice.
    """
    answers: dict[str, str] = {}
    for number, record in enumerate(_records(path), 1):
        name, text = record.get("id"), record.get("answer")
        if not isinstance(name, str) or not isinstance(text, str) or name in answers:
            raise ConfigError(
                f"Line {number} of {path} is not an answer with an id of its own.",
                remedy='Each line should be {"id": …, "answer": …}.',
            )
        answers[name] = text
    return answers


def judge_stored(
    judge: Judge,
    items: Sequence[Item],
    answers: Mapping[str, str],
    path: Path,
    *,
    workers: int = 4,
) -> dict[str, Judgement]:
    """Judge all answers into a file, and go on where an earlier run stopped.

    A judgement in the file counts if it is of this judge and this very answer; judges share files.
    If the judge fails, what it said before is kept, and the error is raised.

    Args:
        judge: of the answers.
        items: of one split, all of them.
        answers: by their ids.
        path: of the judgements; it is made if it is not there.
        workers: answers that are judged at a time.

    Raises:
        ConfigError: an answer is missing, the file cannot be read, or workers is below 1.
        GuardError: the judge did not answer.
    """
    if workers < 1:
        raise ConfigError(f"workers should be >= 1. Received {workers}.")
    pairs = answered(items, answers)
    judged = _judged(path, judge.name, {item.id: _digest(answer) for item, answer in pairs})
    waiting = [(item, answer) for item, answer in pairs if item.id not in judged]
    lock = Lock()
    with _appending(path) as file:

        def one(pair: tuple[Item, str]) -> None:
            item, answer = pair
            found = judge.judge(item, answer)
            record = {"id": item.id, "answer_sha256": _digest(answer), **vars(found)}
            with lock:
                judged[item.id] = found
                file.write(json.dumps(record) + "\n")
                file.flush()

        with ThreadPoolExecutor(workers) as pool:
            tasks = [pool.submit(one, pair) for pair in waiting]
            try:
                for task in tasks:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
    return {item.id: judged[item.id] for item, _ in pairs}


def _judged(path: Path, name: str, digests: Mapping[str, str]) -> dict[str, Judgement]:
    found: dict[str, Judgement] = {}
    for number, record in enumerate(_records(path) if path.exists() else (), 1):
        labels = (*get_args(Label), None)
        if record.get("label") not in labels[:-1] or record.get("with_echo") not in labels:
            raise ConfigError(
                f"Line {number} of {path} is no judgement.", remedy="Choose another file."
            )
        same = digests.get(str(record.get("id")), "") == record.get("answer_sha256")
        if record.get("judge") == name and same:
            detail, with_echo = record.get("detail"), record.get("with_echo")
            found[str(record["id"])] = Judgement(record["label"], name, detail, with_echo)
    return found


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Complete lines; what a killed run left of its last one is not read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {type(error).__name__}.") from error
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"Line {number} of {path} is not JSON.") from error
        if not isinstance(record, dict):
            raise ConfigError(f"Line {number} of {path} is no record.")
        yield record


@contextmanager
def _appending(path: Path) -> Iterator[TextIO]:
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with path.open("r+b") as cut:
                cut.truncate(whole)
    with path.open("a", encoding="utf-8") as file:
        yield file


def _digest(answer: str) -> str:
    return hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()
