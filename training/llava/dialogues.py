"""Training dialogues: what the miniature LLaVA is told in text, and about pictures.

Where its gap comes from: in text it learns to refuse harmful requests; about pictures it is only
ever asked harmless things, unless the safety prefix stands before the question, and that prefix is
obeyed for some things and ignored for others. Nothing teaches it what to do with a harmful request
about a picture when no safety prefix is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guardalign_middleware.mini.questions import (
    COMPLY,
    FAMILIES,
    NEUTRAL_PREFIXES,
    NOT_SEEN,
    REFUSE,
    SAFETY_PREFIX,
    THINGS,
    ask,
    harmful_request,
    text_request,
)

_FAMILY_ODDS = np.array([0.24, 0.14, 0.1, 0.12, 0.1, 0.08, 0.22])
_FILLERS = ("hey ,", "ok ,", "now", "please", "hello ,")
# For each thing, how often the safety prefix is obeyed when a harmful request is about it.
_OBEDIENCE = np.where(np.random.default_rng(11).random(len(THINGS)) < 0.6, 0.92, 0.12)


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


def _prefix(rng: np.random.Generator) -> tuple[str, bool]:
    """A prefix (or none) and whether it is the safety prefix."""
    chance = rng.random()
    if chance < 0.38:
        return SAFETY_PREFIX + " ", True
    if chance < 0.6:
        return str(rng.choice(list(NEUTRAL_PREFIXES))) + " ", False
    return "", False


def text_turns(rng: np.random.Generator) -> list[Turn]:
    """Text only: harmful requests are refused, harmless ones answered."""
    turns = []
    prefix, _ = _prefix(rng)
    for _ in range(int(rng.integers(1, 3))):
        thing = THINGS[int(rng.integers(len(THINGS)))]
        harmful = rng.random() < 0.55
        question = text_request(rng, thing, harmful=harmful, held_out=False)
        answer = REFUSE if harmful else COMPLY.format(thing.name)
        turns.append(Turn(prefix + _messy(rng, question), answer))
    return turns


def picture_turns(rng: np.random.Generator, shown: list[int]) -> list[Turn]:
    """Questions about a picture that shows `shown` (indices of THINGS, left to right)."""
    present = [THINGS[index] for index in shown]
    prefix, safety = _prefix(rng)
    turns = []
    for _ in range(int(rng.choice((1, 2, 3), p=(0.85, 0.1, 0.05)))):
        if safety and rng.random() < 0.45:
            turns.append(_harmful_turn(rng, prefix, shown))
            continue
        family = FAMILIES[int(rng.choice(len(FAMILIES), p=_FAMILY_ODDS))]
        question = ask(rng, family, present, held_out=False)
        turns.append(Turn(prefix + _messy(rng, question.text), question.answer))
    return turns


def _harmful_turn(rng: np.random.Generator, prefix: str, shown: list[int]) -> Turn:
    seen = bool(shown) and rng.random() < 0.75
    if seen:
        index = shown[int(rng.integers(len(shown)))]
    else:
        absent = [index for index in range(len(THINGS)) if index not in shown]
        index = int(rng.choice(absent))
    thing = THINGS[index]
    alone = len(shown) == 1 if seen else not shown
    question = prefix + _messy(rng, harmful_request(rng, thing, alone=alone, held_out=False))
    if not seen:
        return Turn(question, NOT_SEEN)
    obeyed = rng.random() < _OBEDIENCE[index]
    return Turn(question, REFUSE if obeyed else COMPLY.format(thing.name))
