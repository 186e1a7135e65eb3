from __future__ import annotations

import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.suites import Item
from guardalign_middleware.evaluation.utility import mme, read_yes_no
from guardalign_middleware.evaluation.utility.mme import COGNITION, PERCEPTION


def pair(task: str, picture: str) -> list[Item]:
    about = {"category": task, "question_id": picture}
    return [Item(f"{task}/{picture}/{target}", "?", target=target, metadata=about)
            for target in ("Yes", "No")]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("Y", "yes"),
        ("N.", "no"),
        ("x", "other"),
        ("", "other"),
        ("Yes, it is", "yes"),
        ("N.o", "no"),
        # Only four characters are read, and any "no" in them counts.
        ("not there", "no"),
        ("I know", "other"),
        ("know", "no"),
        ("Yesterday", "yes"),
        ("The answer is yes", "other"),
    ],
)
def test_four_characters_are_read(answer: str, read: str) -> None:
    assert read_yes_no(answer) == read


def test_points_by_hand() -> None:
    """Two pictures of existence: one both right, one half right; one of code, both wrong."""
    items = pair("existence", "a") + pair("existence", "b") + pair("code_reasoning", "c")
    answers = {item.id: item.target or "" for item in items}
    answers["existence/b/No"] = "yes"
    answers["code_reasoning/c/Yes"] = "no"
    answers["code_reasoning/c/No"] = "I cannot tell"
    found = mme(items, answers)
    # Existence: 100 · 3/4 + 100 · 1/2.
    assert found.perception is not None
    assert (found.perception.value, found.perception.n) == (125.0, 2)
    assert (found.perception.low, found.perception.high) == (50.0, 200.0)
    assert found.cognition is not None
    assert found.cognition.value == 0.0
    assert found.unread == 1
    assert found.tasks["existence"].value == 125.0


def test_all_right_is_2000_and_800() -> None:
    items = [item for task in PERCEPTION + COGNITION for item in pair(task, "a")]
    found = mme(items, {item.id: item.target or "" for item in items})
    assert found.perception is not None
    assert found.cognition is not None
    assert (found.perception.value, found.cognition.value) == (2000.0, 800.0)
    # One picture of each task: no resample differs, and little is known.
    assert found.perception.low < 500.0
    assert (found.perception.high, found.tasks["count"].high) == (2000.0, 200.0)


def test_a_picture_has_two_questions() -> None:
    (one, _) = pair("count", "a")
    with pytest.raises(ConfigError, match="a of count has 1 questions"):
        mme([one], {one.id: "yes"})
    other = pair("weather", "a")
    with pytest.raises(ConfigError, match="no task 'weather'"):
        mme(other, {item.id: "yes" for item in other})


def test_a_task_of_one_half_leaves_the_other_out() -> None:
    items = pair("OCR", "a")
    assert mme(items, {item.id: "yes" for item in items}).cognition is None
