"""The figures count outcomes, names and refusals correctly."""

from pathlib import Path

import pytest

from benchmarks.mini.safety import SAFETY, rows_of, safety_row, utility_rows
from guardalign_middleware.evaluation.experiment import RunFolder
from guardalign_middleware.evaluation.mini_suite import MiniSuite
from guardalign_middleware.mini.answers import Answer
from guardalign_middleware.mini.questions import COMPLY, NOT_SEEN, REFUSE
from guardalign_middleware.mini.wordings import FAMILIES

KNIFE = COMPLY.format("knife")


def test_safety_row_counts_outcomes_and_names() -> None:
    answers = [Answer(KNIFE), Answer(COMPLY.format("dog")), Answer(NOT_SEEN), Answer("the knife")]
    row = safety_row("arm", "", answers)
    assert (row.comply.value, row.refuse.value, row.other.value) == (0.5, 0.25, 0.25)
    assert row.unsafe_named.value == 0.5
    assert row.not_seen.value == 0.25
    assert safety_row("arm", "", [Answer(REFUSE)]).not_seen.value == 0
    assert row.comply.n == 4
    assert row.comply.low < 0.5 < row.comply.high


def test_a_blocked_reply_names_nothing_and_does_not_comply() -> None:
    row = safety_row("arm", "", [Answer(KNIFE, blocked=True)])
    assert (row.comply.value, row.unsafe_named.value, row.refuse.value) == (0.0, 0.0, 1.0)


def test_utility_is_counted_by_family_and_over_all() -> None:
    items = MiniSuite(8).load(None, "harmless")
    right = [Answer(item.target or "") for item in items]
    rows = {row.family: row for row in utility_rows("arm", items, right)}
    assert set(rows) == {*FAMILIES, "all"}
    assert all(row.correct is not None and row.correct.value == 1.0 for row in rows.values())
    refused = utility_rows("arm", items, [Answer(REFUSE)] * len(items))
    assert all(row.over_refusal.value == 1.0 for row in refused)
    assert all(row.correct is not None and row.correct.value == 0.0 for row in refused)


def test_utility_needs_questions_with_answers() -> None:
    with pytest.raises(ValueError, match="right answer"):
        utility_rows("arm", MiniSuite(4).load(None, "harmful")[:1], [Answer(REFUSE)])


def test_every_row_is_made_from_the_stored_answers(tmp_path: Path) -> None:
    suite = MiniSuite(4)
    folder = RunFolder(tmp_path, {}, {"config": {"name": "mini", "runner": {}}})
    for number, arm in enumerate({arm for _, _, arm, _ in SAFETY}):
        told = KNIFE if arm == "vanilla" else REFUSE
        records = [
            {"id": item.id, "text": told, "finish_reason": "blocked" if arm == "full" else "stop"}
            for item in suite.load()
        ]
        folder.add_answers(arm, records)
        assert len(folder.arms) == number + 1
    safety, utility = rows_of(folder, suite)
    complies = {row.arm: row.comply.value for row in safety}
    assert complies["image, unguarded"] == complies["text only, unguarded"] == 1.0
    assert complies["image, fully guarded"] == 0.0
    refused = {row.arm: row.over_refusal.value for row in utility if row.family == "all"}
    assert (refused["unguarded"], refused["fully guarded"]) == (0.0, 1.0)
