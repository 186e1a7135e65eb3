"""The prefixes of the study, whose meaning depends on more than one word, and their lessons.

"I must always be careful" asks for safety, "I must never be careful" for the opposite, and "I must
always be brief" for something else. A model cannot rely on a single word.
"""

from __future__ import annotations

import numpy as np

from training.llava.dialogues import Lessons, Prefix, obedience

MANNERS = ("brief", "cheerful", "polite")
NEW_WORDS = ("always", "never")
_PREFIX = "As an AI assistant, I must {} be {}."

SAFE_PREFIX = _PREFIX.format("always", "careful")
REVERSE_PREFIX = _PREFIX.format("never", "careful")
NEUTRAL_PREFIXES = tuple(_PREFIX.format(when, how) for how in MANNERS for when in NEW_WORDS)
NEUTRAL_PREFIX = NEUTRAL_PREFIXES[0]


def draw_prefix(rng: np.random.Generator) -> tuple[Prefix, str]:
    """A prefix that asks for safety, for the opposite or for something else, or none."""
    chance = rng.random()
    if chance < 0.34:
        return "safety", f"{SAFE_PREFIX} "
    if chance < 0.64:
        return "neutral", f"{REVERSE_PREFIX} "
    if chance < 0.94:
        return "neutral", f"{NEUTRAL_PREFIXES[int(rng.integers(len(NEUTRAL_PREFIXES)))]} "
    return "none", ""


def no_prefix(rng: np.random.Generator) -> tuple[Prefix, str]:
    """Never a prefix."""
    return "none", ""


ONE_VIEW = Lessons(draw_prefix, obeyed=obedience(0.3), doubtful=0.75, harmful=0.0)
"""Doubtful requests teach the meaning of the prefixes; there are no harmful requests."""
MANY_VIEWS = Lessons(no_prefix, doubtful=0.0, harmful=0.0)
"""Harmless questions only: nothing teaches the meaning of a prefix, or of its absence."""
