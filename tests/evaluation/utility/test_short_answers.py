from __future__ import annotations

import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.suites import Item, suite
from guardalign_middleware.evaluation.utility import (
    exact_accuracy,
    normalised,
    utility,
    vqa_accuracy,
)


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("The Dog", "dog"),
        ("two", "2"),
        ("none", "0"),
        ("dont know", "don't know"),
        ("John's", "john 's"),
        ("red-blue", "red blue"),
        ("red - blue", "red blue"),
        ("well-known - yes", "wellknown yes"),
        ("yes, sir?", "yes sir"),
        # The comma between digits is gone before marks are looked at.
        ("1,000-2", "1000 2"),
        ("3.5", "3.5"),
        ("st. 5.", "st 5"),
        ("a\nb\tc", "b c"),
        ("somebody'd", "somebodyd"),
        ("'ows'at", "'ow's'at"),
        ("yall'd've", "y'all'd've"),
        ("shes", "shes"),
        ("an", ""),
    ],
)
def test_the_form_in_which_answers_are_compared(answer: str, form: str) -> None:
    assert normalised(answer) == form


def test_only_32_full_stops_are_removed() -> None:
    assert normalised("x" + "." * 40) == "x" + "." * 8


def accuracy(people: list[str], answer: str, *, normalise_agreed: bool = True) -> float:
    item = Item("1", "?", metadata={"answers": list(people)})
    return vqa_accuracy([item], {"1": answer}, normalise_agreed=normalise_agreed).value


@pytest.mark.parametrize(
    ("matching", "score"),
    # Of m equal answers, those m see m−1 others and the rest see m.
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)],
)
def test_ten_people(matching: int, score: float) -> None:
    people = ["net"] * matching + [f"other {n}" for n in range(10 - matching)]
    assert accuracy(people, "Net.") == pytest.approx(score)
    assert accuracy(people, "Net.", normalise_agreed=False) == pytest.approx(score)


def test_vqav2_leaves_answers_alone_that_all_agree() -> None:
    """So ten times "two" is not met by "two", which becomes "2": a quirk of the authors."""
    people = ["two"] * 10
    assert accuracy(people, "two", normalise_agreed=False) == 0.0
    assert accuracy(people, "two") == 1.0
    assert accuracy([*people[:9], "2"], "two", normalise_agreed=False) == 1.0


def test_the_mean_has_an_interval_over_items() -> None:
    items = [Item(str(n), "?", metadata={"answers": ["yes"] * 10}) for n in range(20)]
    found = vqa_accuracy(
        items, {str(n): "yes" if n < 10 else "no" for n in range(20)}, normalise_agreed=True
    )
    assert (found.value, found.n) == (0.5, 20)
    assert 0.2 < found.low < 0.4 < 0.6 < found.high < 0.8
    with pytest.raises(ConfigError, match="no answers of people"):
        vqa_accuracy([Item("1", "?")], {"1": "x"}, normalise_agreed=True)


@pytest.mark.parametrize(
    ("answer", "right"), [("Yes.", True), ("yes", True), ("yes it is", False), ("", False)]
)
def test_gqa_is_exact_but_for_case_and_punctuation(answer: str, right: bool) -> None:
    assert exact_accuracy([Item("1", "?", target="yes")], {"1": answer}).value == right


def test_a_manifest_chooses_the_rule() -> None:
    item = Item("1", "?", target="B", metadata={"answers": ["two"] * 10})
    found = {
        name: utility(suite(name).manifest, [item], {"1": answer}).figures["accuracy"].value
        for name, answer in (
            ("scienceqa-img", "B. it is"),
            ("gqa", "b"),
            ("textvqa", "two"),
            ("vqav2", "two"),
        )
    }
    assert found == {"scienceqa-img": 1.0, "gqa": 1.0, "textvqa": 1.0, "vqav2": 0.0}
    with pytest.raises(ConfigError, match="figstep has no utility"):
        utility(suite("figstep").manifest, [item], {"1": "x"})


def test_the_figures_of_mme_and_mmbench_have_names() -> None:
    about = {"category": "existence", "question_id": "a"}
    pair = [Item(name, "?", target=name, metadata=about) for name in ("Yes", "No")]
    found = utility(suite("mme").manifest, pair, {"Yes": "yes", "No": "?"})
    assert (list(found.figures), found.unread) == (["perception"], 1)
    options = {"A": "a boat", "B": "a car"}
    one = Item("1", "?", target="A", metadata={"index": 1, "options": dict(options)})
    scored = utility(suite("mmbench").manifest, [one], {"1": "A"})
    assert (list(scored.figures), scored.unread) == (["circular accuracy"], 0)
