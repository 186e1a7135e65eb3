"""The figures count outcomes, names and refusals correctly."""

import pytest

from benchmarks.mini.safety import safety_row, utility_rows
from guardalign_middleware.mini.questions import COMPLY, NOT_SEEN, REFUSE
from guardalign_middleware.mini.wordings import FAMILIES
from training.answers import Answer
from training.requests import Request, harmless_requests

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
    requests = harmless_requests(2, seed=3, split="reported")
    right = [Answer(r.question.answer if r.question else "") for r in requests]
    rows = {row.family: row for row in utility_rows("arm", requests, right)}
    assert set(rows) == {*FAMILIES, "all"}
    assert all(row.correct is not None and row.correct.value == 1.0 for row in rows.values())
    refused = utility_rows("arm", requests, [Answer(REFUSE)] * len(requests))
    assert all(row.over_refusal.value == 1.0 for row in refused)
    assert all(row.correct is not None and row.correct.value == 0.0 for row in refused)


def test_utility_needs_questions_with_answers() -> None:
    with pytest.raises(ValueError, match="right answer"):
        utility_rows("arm", [Request("a harmful one")], [Answer(REFUSE)])
