from __future__ import annotations

import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.suites import Item
from guardalign_middleware.evaluation.utility import letter_accuracy, mmbench, read_option

OPTIONS = {"A": "a red car", "B": "a boat", "C": "a plane", "D": "a bike"}


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(C)", "C"),
        ("The answer is D", "D"),
        ("Answer:B", None),
        ("Answer :B", "B"),
        ("It is (B). Because", "B"),
        ("A", "A"),
        ("A is right", "A"),
        # Of more than three words: an article.
        ("A boat on the lake", "B"),
        ("A B", None),
        ("A boat", "A"),
        ("I see a plane there", "C"),
        ("a boat or a plane", None),
        ("E", "E"),
        ("none of them", None),
        ("", None),
    ],
)
def test_a_letter_and_then_a_text_is_read(answer: str, read: str | None) -> None:
    assert read_option(answer, OPTIONS) == read


def order(index: int, target: str) -> Item:
    about = {"category": "x", "index": index, "options": dict(OPTIONS)}
    return Item(str(index), "?", target=target, metadata=about)


def test_a_question_counts_if_every_order_is_right() -> None:
    items = [order(7, "A"), order(1_000_007, "B"), order(8, "C"), order(1_000_008, "D")]
    answers = {"7": "A", "1000007": "B.", "8": "C", "1000008": "I do not know"}
    found = mmbench(items, answers)
    assert (found.circular.value, found.circular.n, found.unread) == (0.5, 2, 1)


def test_a_question_without_its_first_order_is_an_error() -> None:
    with pytest.raises(ConfigError, match="1 questions lack their first order, as 8 does"):
        mmbench([order(7, "A"), order(1_000_008, "B")], {"7": "A", "1000008": "B"})
    with pytest.raises(ConfigError, match="none of MMBench"):
        mmbench([Item("1", "?", metadata={"index": "1", "options": {}})], {"1": "A"})


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("B", True),
        ("B. a boat", True),
        ("B.", True),
        ("A.", False),
        ("b", False),
        ("B ", False),
        (" B", False),
        ("B: a boat", False),
        ("The answer is B.", False),
        ("", False),
    ],
)
def test_scienceqa_reads_the_letter_alone(answer: str, right: bool) -> None:
    found = letter_accuracy([Item("1", "?", target="B")], {"1": answer})
    assert (found.value, found.n) == (float(right), 1)


def test_every_item_is_scored() -> None:
    items = [Item("1", "?", target="B"), Item("2", "?", target="B")]
    with pytest.raises(ConfigError, match="1 ids are without an answer, the first is 2"):
        letter_accuracy(items, {"1": "B"})
    with pytest.raises(ConfigError, match="1 ids are unknown, the first is 3"):
        letter_accuracy(items, {"1": "B", "2": "B", "3": "B"})
    with pytest.raises(ConfigError, match="no items"):
        letter_accuracy([], {})
