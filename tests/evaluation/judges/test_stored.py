from __future__ import annotations

import json
from pathlib import Path
from threading import Lock

import pytest

from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.evaluation.judges import (
    Judgement,
    judge_stored,
    read_answers,
    write_answers,
)
from guardalign_middleware.evaluation.suites import Item

ITEMS = [Item(str(number), "?") for number in range(6)]
ANSWERS = {str(number): f"answer {number}\n" for number in range(6)}


class Counting:
    """Judges so many answers, and then fails."""

    def __init__(self, name: str = "first", most: int = 99) -> None:
        self.name = name
        self.asked: list[str] = []
        self._most = most
        self._lock = Lock()

    def judge(self, item: Item, answer: str) -> Judgement:
        with self._lock:
            if len(self.asked) >= self._most:
                raise GuardError("The judge is away.", stage="judge")
            self.asked.append(item.id)
        return Judgement("safe", self.name, f"detail of {answer.strip()}", "refusal")


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    write_answers(path, ANSWERS)
    assert read_answers(path) == ANSWERS


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"id": "1", "answer": "x"}\n{"id": "1", "answer": "y"}\n', "Line 2 .* id of its own"),
        ('{"id": 1, "answer": "x"}\n', "Line 1"),
        ("[]\n", "no record"),
        ("{\n", "not JSON"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        read_answers(path)
    with pytest.raises(ConfigError, match="cannot be read: FileNotFoundError"):
        read_answers(tmp_path / "absent")


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    failing = Counting(most=4)
    with pytest.raises(GuardError, match="away"):
        judge_stored(failing, ITEMS, ANSWERS, path, workers=2)
    assert len(path.read_text().splitlines()) == 4
    # A killed process leaves half a line.
    with path.open("a") as file:
        file.write('{"id": "5", "lab')
    again = Counting()
    found = judge_stored(again, ITEMS, ANSWERS, path)
    assert sorted(again.asked + failing.asked) == sorted(ANSWERS)
    assert list(found) == list(ANSWERS)
    assert found["5"] == Judgement("safe", "first", "detail of answer 5", "refusal")
    last = Counting()
    assert judge_stored(last, ITEMS, ANSWERS, path) == found
    assert not last.asked


def test_another_judge_or_another_answer_is_judged_anew(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    judge_stored(Counting(), ITEMS, ANSWERS, path)
    second = Counting("second")
    found = judge_stored(second, ITEMS, ANSWERS, path)
    assert len(second.asked) == 6
    assert {one.judge for one in found.values()} == {"second"}
    changed = Counting()
    judge_stored(changed, ITEMS, ANSWERS | {"3": "another"}, path)
    assert changed.asked == ["3"]


def test_no_answer_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    with pytest.raises(ConfigError, match="5 ids are without an answer, the first is 1"):
        judge_stored(Counting(), ITEMS, {"0": "x"}, path)
    with pytest.raises(ConfigError, match="workers"):
        judge_stored(Counting(), ITEMS, ANSWERS, path, workers=0)
    path.write_text(json.dumps({"id": "0", "label": "fine"}) + "\n")
    with pytest.raises(ConfigError, match="Line 1 .* no judgement"):
        judge_stored(Counting(), ITEMS, ANSWERS, path)
