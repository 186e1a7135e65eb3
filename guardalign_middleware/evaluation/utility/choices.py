"""Multiple choice: ScienceQA's letter, and MMBench's options in every order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.evaluation.suites.manifest import Item
from guardalign_middleware.evaluation.utility.answers import answered

_LETTERS = "ABCDE"
# What may stand around a letter, tried in this order.
_AROUND = (("", "."), ("", ","), ("", ":"), ("", ")"), ("", ")."), ("(", ")"), ("(", ")."),
           (":", ""), (":", ","), (":", "."), (":", ")"), (":", ")."))  # fmt: skip
_MODULUS = 10**6
"""Rows of MMBench with the same index modulo this are one question in several orders."""


def letter_accuracy(items: Sequence[Item], answers: Mapping[str, str]) -> Estimate:
    """ScienceQA: the answer is the letter, or begins with a capital letter and a full stop.

    Anything else is wrong, as "The answer is B" or "b" is: this is the authors' rule.

    Raises:
        ConfigError: an answer is missing.
    """
    rows = answered(items, answers)
    return rate(sum(_letter(answer) == item.target for item, answer in rows), len(rows))


def _letter(answer: str) -> str:
    begun = re.match(r"([A-Z])\.", answer)
    return begun[1] if begun else answer


@dataclass(frozen=True)
class MMBenchScore:
    """MMBench's accuracy.

    Attributes:
        circular: share of the questions that are right in every order of their options.
        unread: rows whose option could not be read; they are wrong. The authors ask GPT about them,
            and draw a letter at random where GPT fails.
    """

    circular: Estimate
    unread: int


def mmbench(items: Sequence[Item], answers: Mapping[str, str]) -> MMBenchScore:
    """Circular accuracy: a question counts if it is right in all of its orders.

    Raises:
        ConfigError: an answer is missing, or a question lacks its first order.
    """
    rights: dict[int, list[bool]] = defaultdict(list)
    first = set()
    unread = 0
    for item, answer in answered(items, answers):
        index = item.metadata["index"]
        options = item.metadata["options"]
        if not isinstance(index, int) or not isinstance(options, dict):
            raise ConfigError(f"The item {item.id} is none of MMBench.", remedy="Load mmbench.")
        read = read_option(answer, {letter: str(text) for letter, text in options.items()})
        unread += read is None
        rights[index % _MODULUS].append(read == item.target)
        if index < _MODULUS:
            first.add(index)
    lacking = sorted(set(rights) - first)
    if lacking:
        raise ConfigError(
            f"{len(lacking)} questions lack their first order, as {lacking[0]} does.",
            remedy="Score all items of the suite.",
        )
    return MMBenchScore(rate(sum(all(row) for row in rights.values()), len(rights)), unread)


def read_option(answer: str, options: Mapping[str, str]) -> str | None:
    """The option that an answer names: by its letter alone among words, else by its text.

    "A" in an answer of more than three words may be an article, and is not read as a letter.

    Args:
        answer: of the model.
        options: letter → text.
    """
    words = answer.split()
    named = [letter for letter in _LETTERS if letter in words]
    if len(named) == 1 and not (named == ["A"] and len(words) > 3):
        return named[0]
    for before, after in _AROUND:
        named = [letter for letter in _LETTERS if f"{before}{letter}{after}" in words]
        if len(named) == 1:
            return named[0]
    lowered = answer.lower()
    held = [letter for letter, text in options.items() if text.lower() in lowered]
    return held[0] if len(held) == 1 else None
