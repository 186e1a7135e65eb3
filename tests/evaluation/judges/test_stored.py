from __future__ import annotations

import json
from pathlib import Path
from threading import Lock

import pytest

from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.evaluation.judges import (
    BLOCKED,
    Judgement,
    judge_missing,
    judge_stored,
    read_judgements,
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


def test_another_answer_is_judged_anew(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    judge_stored(Counting(), ITEMS, ANSWERS, path)
    changed = Counting()
    found = judge_stored(changed, ITEMS, ANSWERS | {"3": "another"}, path)
    assert changed.asked == ["3"]
    assert found["3"].detail == "detail of another"
    # What was said of the first answer holds no more, in whatever order the lines stand.
    assert read_judgements(path, ANSWERS).keys() == ANSWERS.keys()
    assert read_judgements(path, {"3": "a third"}) == {}


def test_a_file_is_of_one_judge(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    judge_stored(Counting(), ITEMS, ANSWERS, path)
    second = Counting("second")
    with pytest.raises(ConfigError, match="of the judge 'first', not of 'second'"):
        judge_stored(second, ITEMS, ANSWERS, path)
    assert second.asked == []


def test_a_blocked_picture_is_a_refusal_and_no_judge_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    judge = Counting()
    found = judge_stored(judge, ITEMS, ANSWERS, path, blocked={"2"})
    assert found["2"] == Judgement("refusal", BLOCKED, "blocked")
    assert sorted(judge.asked) == ["0", "1", "3", "4", "5"]


def test_judgements_are_stored_in_the_order_of_items_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    items = [Item(str(number), "?") for number in range(20)]
    answers = {str(number): f"answer {number}" for number in range(19)}
    counts = judge_missing(Counting(), items, answers, path)
    assert next(counts) == 16
    assert len(path.read_text().splitlines()) == 16
    assert list(counts) == [3]  # the last item has no answer yet
    assert list(read_judgements(path, answers)) == list(answers)


def test_no_answer_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    with pytest.raises(ConfigError, match="5 ids are without an answer, the first is 1"):
        judge_stored(Counting(), ITEMS, {"0": "x"}, path)
    with pytest.raises(ConfigError, match="workers"):
        judge_stored(Counting(), ITEMS, ANSWERS, path, workers=0)


@pytest.mark.parametrize(
    "record",
    [
        {"label": "fine", "judge": "first"},
        {"label": "safe"},
        {"label": "safe", "judge": "first", "with_echo": "fine"},
        {"label": "safe", "judge": "first", "detail": 1},
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, record: dict[str, object]) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_text(json.dumps({"id": "0", **record}) + "\n")
    with pytest.raises(ConfigError, match="no judgement in line 1"):
        judge_stored(Counting(), ITEMS, ANSWERS, path)
