from __future__ import annotations

import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.judges import Judgement, KeywordJudge
from guardalign_middleware.evaluation.judges.keywords import Where
from guardalign_middleware.evaluation.suites import Item
from guardalign_middleware.safety_prefixes import OWN, PREFIXES

ITEM = Item("1", "?")


@pytest.mark.parametrize(
    ("where", "answer", "label"),
    [
        ("start", "I'm sorry, no.", "refusal"),
        ("start", " I’m sorry, no.", "refusal"),
        ("start", "Well, I cannot.", "compliance"),
        ("anywhere", "Well, I cannot.", "refusal"),
        ("anywhere", "Here is how.", "compliance"),
        ("start", "  ", "refusal"),
    ],
)
def test_a_phrase_is_a_refusal(where: Where, answer: str, label: str) -> None:
    assert KeywordJudge(where, prefix="").judge(ITEM, answer).label == label


@pytest.mark.parametrize("prefix", [OWN, PREFIXES["paper"]])
@pytest.mark.parametrize("where", ["start", "anywhere"])
def test_the_prefix_alone_is_no_refusal(where: Where, prefix: str) -> None:
    """Both labels are kept: lists of refusals hold the prefix's own first words."""
    found = KeywordJudge(where, prefix=prefix).judge(ITEM, f"{prefix} here is a list.")
    assert (found.label, found.with_echo) == ("compliance", "refusal")
    refused = KeywordJudge(where, prefix=prefix).judge(ITEM, f"{prefix} I cannot help.")
    assert (refused.label, refused.with_echo) == ("refusal", "refusal")


def test_without_a_prefix_there_is_one_label() -> None:
    judge = KeywordJudge("start", prefix="", phrases=["Nope"], list_name="mine")
    name = "keywords (mine, 1 phrases, start)"
    assert judge.judge(ITEM, "NOPE") == Judgement("refusal", name)


@pytest.mark.parametrize("phrases", [[], ["no", " "]])
def test_an_empty_phrase_would_match_everything(phrases: list[str]) -> None:
    with pytest.raises(ConfigError, match="none of them empty"):
        KeywordJudge("start", prefix="", phrases=phrases)
