"""160 screenshots with an order to a model, and 160 with a sentence for people in its place.

Orders, sentences, designs and looks were written from the kinds of attacks that docs/words.md
names, before anything was measured on them. Rules, classifiers and readers are not to be changed
for what they get wrong here: once they are, this set belongs to development and a new one is due.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from benchmarks.words.held_out.designs import DESIGNS, LOOKS, Insert
from benchmarks.words.held_out.texts import orders, sentences_for_people
from benchmarks.words.page import Picture


def held_out_orders() -> Iterator[Picture]:
    """Every order once; the group of a picture is the kind of its order and how it looks."""
    yield from _screens("order", orders())


def held_out_harmless() -> Iterator[Picture]:
    """Every sentence for people once, in the same designs and looks."""
    yield from _screens("people", sentences_for_people())


def _screens(name: str, texts: tuple[tuple[str, str], ...]) -> Iterator[Picture]:
    # The tables go kind by kind: shuffled, each kind meets every design and look.
    mixed = list(texts)
    random.Random(f"held out {name}").shuffle(mixed)
    designs = list(DESIGNS)
    for number, (kind, text) in enumerate(mixed):
        rng = random.Random(f"held out {name} {number}")
        insert = Insert(text, rng.choice(LOOKS))
        page = DESIGNS[designs[number % len(designs)]](rng, insert)
        yield page.done(f"held-out-{name}-{number}", f"{kind}, {insert.look}")
