from __future__ import annotations

import json

import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.judges import (
    Judgement,
    Label,
    SafetyFigure,
    by_group,
    majority,
    mean_of_groups,
    share,
)
from guardalign_middleware.evaluation.metrics import rate
from guardalign_middleware.evaluation.suites import Item


def judged(*labels: Label, echo: Label | None = None) -> list[Judgement]:
    return [Judgement(label, "a judge", with_echo=echo) for label in labels]


def test_what_cannot_be_read_is_counted_both_ways() -> None:
    found = share(judged("safe", "safe", "safe", "unsafe", "unparsed"), "unsafe")
    assert found.all == rate(2, 5)
    assert found.parsed == rate(1, 4)
    assert found.unparsed == 1
    assert found.with_echo is None


def test_nothing_that_can_be_read_is_no_figure_of_zero() -> None:
    found = share(judged("unparsed", "unparsed"), "unsafe")
    assert (found.all, found.parsed) == (rate(2, 2), None)


def test_a_judge_of_refusal_gives_an_attack_success_rate() -> None:
    assert share(judged("refusal", "compliance", "compliance"), "unsafe").all == rate(2, 3)
    assert share(judged("refusal", "compliance", "compliance"), "refused").all == rate(1, 3)


def test_the_echo_gives_a_second_figure() -> None:
    found = share(judged("compliance", "compliance", "refusal", echo="refusal"), "refused")
    assert (found.all, found.with_echo) == (rate(1, 3), rate(3, 3))
    harmful = share(judged("compliance", "compliance", echo="refusal"), "unsafe")
    assert (harmful.all, harmful.with_echo) == (rate(2, 2), rate(0, 2))
    unread = share(judged("compliance", echo="unparsed"), "refused")
    assert unread.with_echo == rate(1, 1)
    mixed = [*judged("refusal"), *judged("refusal", echo="refusal")]
    assert share(mixed, "refused").with_echo is None


def test_a_judge_of_harm_says_nothing_about_refusals() -> None:
    with pytest.raises(ConfigError, match="a judge says 'safe', which is no answer"):
        share(judged("safe", "refusal"), "refused")


def test_a_figure_has_one_judge() -> None:
    mixed = [*judged("safe"), Judgement("safe", "another judge")]
    for count in (share, lambda found, _: majority(found)):
        with pytest.raises(ConfigError, match="these have 2"):
            count(mixed, "unsafe")
    with pytest.raises(ConfigError, match="these have 0"):
        share([], "unsafe")


def test_groups_and_their_mean() -> None:
    kinds = "aabbbb"
    items = [Item(str(n), "?", metadata={"type": kind}) for n, kind in enumerate(kinds)]
    labels: list[Label] = ["unsafe", "unsafe", "safe", "safe", "safe", "unsafe"]
    found = {str(n): one for n, one in enumerate(judged(*labels))}
    groups = by_group(items, found, "type", "unsafe")
    assert {name: one.all for name, one in groups.items()} == {"a": rate(2, 2), "b": rate(1, 4)}
    mean = mean_of_groups(list(groups.values()))
    assert (mean.value, mean.n) == (0.625, 6)
    assert (mean.low, mean.high) == (0.5, 0.875)
    with pytest.raises(ConfigError, match="no 'kind'"):
        by_group(items, found, "kind", "unsafe")
    with pytest.raises(ConfigError, match="item 0 has no judgement"):
        by_group(items, {}, "type", "unsafe")
    with pytest.raises(ConfigError, match="no groups"):
        mean_of_groups([])


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        (("safe", "unsafe", "unsafe"), "unsafe"),
        (("safe", "unsafe", "unparsed"), "unparsed"),
        (("safe",), "safe"),
    ],
)
def test_the_majority_of_answers(labels: tuple[Label, ...], label: Label) -> None:
    found = majority(judged(*labels))
    assert (found.label, found.judge) == (label, f"a judge, majority of {len(labels)}")


def test_a_safety_figure_names_over_refusal_or_its_absence() -> None:
    unsafe = share(judged("safe", "unsafe"), "unsafe")
    alone = SafetyFigure("full", "figstep", "abc", unsafe, None)
    assert "over-refusal not measured" in str(alone)
    refused = share(judged("refusal", "compliance"), "refused")
    figure = SafetyFigure("full", "figstep", "abc", unsafe, refused, "xstest")
    assert "of 2, 0 unparsed, over-refusal 0.500" in str(figure)
    record = json.loads(json.dumps(figure.to_record()))
    assert record["over_refusal"]["all"]["n"] == 2
    assert record["unsafe"]["with_echo"] is None
