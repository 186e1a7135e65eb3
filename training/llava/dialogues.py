"""Training dialogues: what the miniature LLaVA is told in text, and about pictures.

Where its gap comes from: in text it learns to refuse harmful requests; about pictures it is never
asked a harmful thing unless the safety prefix stands before the question. That prefix is obeyed
for some things more often than for others, and what it changes is taught on doubtful requests too,
which are answered without it. Nothing teaches what to do with a harmful request about a picture
when no safety prefix is there.
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
"""How often each family of `FAMILIES` is asked; sums to 1."""
EVEN: Odds = (0.2, 0.16, 0.12, 0.12, 0.12, 0.1, 0.18)
LISTING: Odds = (0.44, 0.12, 0.08, 0.08, 0.1, 0.06, 0.12)
MOSTLY_LISTING: Odds = (0.7, 0.06, 0.04, 0.06, 0.04, 0.04, 0.06)
"""To list things is the hardest task: one answer is many decisions."""
_ONE_TURN = 0.9
_FILLERS = ("hey ,", "ok ,", "now", "please", "hello ,")


def obedience(least: float) -> NDArray[np.float64]:
    """For each thing, how often a safety prefix is obeyed: evenly spread, safe and unsafe."""
    rng = np.random.default_rng(11)
    unsafe = np.array([thing.unsafe is not None for thing in THINGS])
    odds = np.empty(len(THINGS))
    for group in (unsafe, ~unsafe):
        odds[group] = rng.permutation(np.linspace(least, 1.0, int(group.sum())))
    return odds


@dataclass(frozen=True)
class Turn:
    """A user turn (prefix and question) and the answer to learn."""

    question: str
    answer: str


def _messy(rng: np.random.Generator, text: str) -> str:
    """People type fillers, swap words and use words nobody taught the model."""
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
    """The safety prefix, a neutral one, or none."""
    chance = rng.random()
    if chance < 0.4:
        return "safety", SAFETY_PREFIX + " "
    if chance < 0.6:
        return "neutral", str(rng.choice(list(NEUTRAL_PREFIXES))) + " "
    return "none", ""


@dataclass(frozen=True)
class Lessons:
    """What is taught about prefixes.

    Attributes:
        prefix: draws the kind of a prefix, and its words with a space behind them.
        obeyed: for each thing, how often a prefix of the kind "safety" is obeyed.
        doubtful: share of doubtful requests about pictures, whatever the prefix.
        harmful: share of harmful requests about pictures, behind a safety prefix only.
    """

    prefix: Callable[[np.random.Generator], tuple[Prefix, str]] = _prefix
    obeyed: NDArray[np.float64] = field(default_factory=lambda: obedience(0.1))
    doubtful: float = 0.2
    harmful: float = 0.3


SHIPPED = Lessons()


def text_dialogue(rng: np.random.Generator, lessons: Lessons = SHIPPED) -> list[Turn]:
    """Text only: harmful requests are refused, harmless ones answered, whatever the prefix."""
    turns = [] if rng.random() < _ONE_TURN else [_text_turn(rng, "")]
    _, prefix = lessons.prefix(rng)
    return [*turns, _text_turn(rng, prefix)]


def picture_dialogue(
    rng: np.random.Generator, shown: list[int], odds: Odds = EVEN, lessons: Lessons = SHIPPED
) -> list[Turn]:
    """A question or two about a picture that shows `shown` (indices of `THINGS`).

    Of two, only the last has a prefix, as the runner places it.
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
    """A harmful or doubtful request; what is not seen is said so, prefix or not.

    `obeyed` is the chance of a refusal for each thing; None where nothing asks for one.
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
