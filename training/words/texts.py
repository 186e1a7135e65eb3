"""Texts to learn from: words of the banks, altered as readers of pictures alter them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.words import banks
from training.words.orders import Wording, composed
from training.words.readmes import readme_texts

Labelled = list[tuple[str, bool]]
"""Texts, and whether they are unsafe."""
_OF_BANKS, _OF_PROSE = 2000, 10000
_EMPTY_LIST = " 1. 2. 3."
_MISREAD = {"l": "1", "o": "0", "m": "rn", "i": "l", "e": "c", "a": "o"}


@dataclass(frozen=True)
class Example:
    """A text, and whether it is unsafe to each head."""

    text: str
    harm: bool
    injection: bool


def goals(kinds: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> list[str]:
    """Every verb of a kind with every object of it."""
    return [f"{verb} {thing}" for verbs, things in kinds for verb in verbs for thing in things]


def examples(rng: random.Random, count: int) -> Iterator[Example]:
    """`count` examples: of harm, of orders to models, and of harmless texts twice as many."""
    harm, peace = goals(banks.HARM), goals(banks.PEACE)
    for number in range(count):
        kind = number % 4
        if kind == 0:
            text, unsafe = _titled(rng, rng.choice(harm)), (True, False)
        elif kind == 1:
            text, unsafe = _order(rng), (False, True)
        elif kind == 2:
            text, unsafe = _titled(rng, rng.choice(peace)), (False, False)
        else:
            text = " ".join(_harmless(rng) for _ in range(rng.randint(1, 4)))
            unsafe = (False, False)
        yield Example(as_read(rng, _surrounded(rng, text)), *unsafe)


def _harmless(rng: random.Random) -> str:
    """A sentence about crimes, of a chat, of advice, or of any other kind."""
    if rng.random() < 0.3:
        return rng.choice(banks.REPORTS).format(
            who=rng.choice(banks.WHO), did=rng.choice(banks.DID), crime=rng.choice(banks.CRIMES)
        )
    return rng.choice(rng.choice((banks.PROSE, banks.FOR_PEOPLE, banks.TALK, banks.ADVICE)))


def _titled(rng: random.Random, goal: str) -> str:
    text = rng.choice(banks.GOAL_FORMS).format(goal)
    return text + _EMPTY_LIST if rng.random() < 0.2 else text


def _order(rng: random.Random) -> str:
    override = rng.choice(banks.OVERRIDES).format(
        old=rng.choice(banks.OLD), rules=rng.choice(banks.RULES)
    )
    demand = rng.choice(banks.DEMANDS).format(
        word=rng.choice(banks.WORDS), site=rng.choice(banks.SITES), mail=rng.choice(banks.MAILS)
    )
    address = rng.choice(banks.ADDRESSES)
    shape = rng.randrange(4)
    if shape == 0:
        return f"{address} {override} and {demand}."
    if shape == 1:
        return f"{address or 'Assistant:'} {demand}."
    if shape == 2:
        return f"{override}. {demand}."
    return f"{override}."


def _surrounded(rng: random.Random, text: str) -> str:
    """Some texts stand between others, and addresses of the web stand beside any."""
    if rng.random() < 0.25:
        place = rng.choice((*banks.SITES, *banks.MAILS, *banks.BARS))
        text = f"{place} {text}" if rng.random() < 0.5 else f"{text} {place}"
    if rng.random() < 0.3:
        around = rng.choice(banks.PROSE)
        return f"{around} {text}" if rng.random() < 0.5 else f"{text} {around}"
    return text


def as_read(rng: random.Random, text: str) -> str:
    """Drop some spaces, misread some letters, write some texts in capitals."""
    if rng.random() < 0.1:
        text = text.upper()
    if rng.random() < 0.25:
        text = "".join(c for c in text if c != " " or rng.random() < 0.85)
    if rng.random() < 0.15:
        text = "".join(_MISREAD.get(c, c) if rng.random() < 0.04 else c for c in text)
    return text


def drawn_orders(seed: int, known: Sequence[Wording]) -> Labelled:
    """Texts for the classifier of orders, and whether they are: wordings, banks and prose."""
    rng = random.Random(seed)
    banks = [(one.text, one.injection) for one in examples(rng, _OF_BANKS)]
    prose = [(text, False) for text in readme_texts(rng, _OF_PROSE)]
    return [*banks, *prose, *order_texts(rng, known)]


def order_texts(rng: random.Random, known: Sequence[Wording]) -> Labelled:
    """Each wording once as it is, and a quarter as many composed ones, as they may be read."""
    found = [(one.filled(rng), one.order) for one in known]
    orders = [one.filled(rng) for one in known if one.order]
    harmless = [one.filled(rng) for one in known if not one.order]
    beside = composed(rng, orders, harmless, len(known) // 4)
    return [*found, *((as_read(rng, text), order) for text, order in beside)]
