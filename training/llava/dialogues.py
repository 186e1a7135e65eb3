"""Training dialogues of the miniature LLaVA, in text and about pictures.

They leave a safety gap. In text, the model learns to refuse harmful requests. About pictures,
harmful requests only occur after the safety prefix, which is obeyed for some things more often than
for others. Doubtful requests also teach its effect: without the prefix they are answered. Harmful
requests about pictures without the safety prefix never occur in the training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.mini.questions import (
    COMPLY,
    NOT_SEEN,
    REFUSE,
    THINGS,
    ask,
    harmful_request,
    how_to,
    text_request,
)
from guardalign_middleware.mini.wordings import (
    DOUBTFUL_PURPOSES,
    FAMILIES,
    NEUTRAL_PREFIXES,
    SAFETY_PREFIX,
)

Prefix = Literal["safety", "neutral", "none"]

Odds = tuple[float, ...]
"""Probability of each family of `FAMILIES`."""
EVEN: Odds = (0.2, 0.16, 0.12, 0.12, 0.12, 0.1, 0.18)
LISTING: Odds = (0.44, 0.12, 0.08, 0.08, 0.1, 0.06, 0.12)
MOSTLY_LISTING: Odds = (0.7, 0.06, 0.04, 0.06, 0.04, 0.04, 0.06)
"""Listing things is the hardest task: one answer takes many decisions."""
_ONE_TURN = 0.9
_FILLERS = ("hey ,", "ok ,", "now", "please", "hello ,")


def obedience(least: float) -> NDArray[np.float64]:
    """For each thing, the probability that a safety prefix is obeyed.

    It is spread evenly over `least`..1, among the safe and among the unsafe things.
    """
    rng = np.random.default_rng(11)
    unsafe = np.array([thing.unsafe is not None for thing in THINGS])
    odds = np.empty(len(THINGS))
    for group in (unsafe, ~unsafe):
        odds[group] = rng.permutation(np.linspace(least, 1.0, int(group.sum())))
    return odds


@dataclass(frozen=True)
class Turn:
    """A user turn (prefix and question) and the answer to it."""

    question: str
    answer: str


def _messy(rng: np.random.Generator, text: str) -> str:
    """Add fillers, swapped words and unknown words, as users type them."""
    words = text.split()
    if rng.random() < 0.12:
        words = [*str(rng.choice(list(_FILLERS))).split(), *words]
    if rng.random() < 0.08:
        at = int(rng.integers(0, len(words) - 1))
        words[at], words[at + 1] = words[at + 1], words[at]
    if rng.random() < 0.04:
        words.insert(int(rng.integers(0, len(words) + 1)), "<unk>")
    return " ".join(words)


def _prefix(rng: np.random.Generator) -> tuple[Prefix, str]:
    """The safety prefix, a neutral one, or none; with a space at the end."""
    chance = rng.random()
    if chance < 0.4:
        return "safety", SAFETY_PREFIX + " "
    if chance < 0.6:
        return "neutral", str(rng.choice(list(NEUTRAL_PREFIXES))) + " "
    return "none", ""


@dataclass(frozen=True)
class Lessons:
    """What the dialogues teach about prefixes.

    Attributes:
        prefix: draws a prefix: its kind, and its words followed by a space.
        obeyed: for each thing, the probability that a "safety" prefix is obeyed.
        doubtful: share of doubtful requests about pictures, with any prefix.
        harmful: share of harmful requests about pictures after a "safety" prefix.
    """

    prefix: Callable[[np.random.Generator], tuple[Prefix, str]] = _prefix
    obeyed: NDArray[np.float64] = field(default_factory=lambda: obedience(0.1))
    doubtful: float = 0.2
    harmful: float = 0.3


SHIPPED = Lessons()


def text_dialogue(rng: np.random.Generator, lessons: Lessons = SHIPPED) -> list[Turn]:
    """Text only: with any prefix, harmful requests are refused and harmless ones answered."""
    turns = [] if rng.random() < _ONE_TURN else [_text_turn(rng, "")]
    _, prefix = lessons.prefix(rng)
    return [*turns, _text_turn(rng, prefix)]


def picture_dialogue(
    rng: np.random.Generator, shown: list[int], odds: Odds = EVEN, lessons: Lessons = SHIPPED
) -> list[Turn]:
    """One or two questions about a picture that shows `shown` (indices of `THINGS`).

    Only the last one has a prefix, where the runner places it.
    """
    turns = (
        [] if rng.random() < _ONE_TURN else [_picture_turn(rng, "none", "", shown, odds, lessons)]
    )
    kind, prefix = lessons.prefix(rng)
    return [*turns, _picture_turn(rng, kind, prefix, shown, odds, lessons)]


def _text_turn(rng: np.random.Generator, prefix: str) -> Turn:
    thing = THINGS[int(rng.integers(len(THINGS)))]
    harmful = rng.random() < 0.55
    question = text_request(rng, thing, harmful=harmful, held_out=False)
    answer = REFUSE if harmful else COMPLY.format(thing.name)
    return Turn(prefix + _messy(rng, question), answer)


def _picture_turn(
    rng: np.random.Generator,
    kind: Prefix,
    prefix: str,
    shown: list[int],
    odds: Odds,
    lessons: Lessons,
) -> Turn:
    chance = rng.random()
    obeyed = lessons.obeyed if kind == "safety" else None
    if chance < lessons.doubtful:
        return _doubtful_turn(rng, prefix, shown, obeyed, harmful=False)
    if kind == "safety" and chance < lessons.doubtful + lessons.harmful:
        return _doubtful_turn(rng, prefix, shown, obeyed, harmful=True)
    family = FAMILIES[int(rng.choice(len(FAMILIES), p=odds))]
    question = ask(rng, family, [THINGS[index] for index in shown], held_out=False)
    return Turn(prefix + _messy(rng, question.text), question.answer)


def _doubtful_turn(
    rng: np.random.Generator,
    prefix: str,
    shown: list[int],
    obeyed: NDArray[np.float64] | None,
    *,
    harmful: bool,
) -> Turn:
    """A harmful or doubtful request; if the thing is not in the picture, the answer says so.

    `obeyed` is the probability of a refusal for each thing; None without a safety prefix.
    """
    seen = bool(shown) and rng.random() < 0.75
    if seen:
        index = shown[int(rng.integers(len(shown)))]
    else:
        absent = [index for index in range(len(THINGS)) if index not in shown]
        index = int(rng.choice(absent))
    thing = THINGS[index]
    alone = len(shown) == 1 if seen else not shown
    if harmful:
        question = harmful_request(rng, thing, alone=alone, held_out=False)
    else:
        purpose = str(rng.choice(list(DOUBTFUL_PURPOSES)))
        question = how_to(rng, thing, purpose, alone=alone, held_out=False)
    question = prefix + _messy(rng, question)
    if not seen:
        return Turn(question, NOT_SEEN)
    refused = obeyed is not None and rng.random() < obeyed[index]
    return Turn(question, REFUSE if refused else COMPLY.format(thing.name))
