"""Fit the thresholds of the built-in classifiers: `python -m benchmarks.words.fit_thresholds`.

On the drawn lines of the development halves, so no picture is read: a reader's faults only take
evidence away. As many paragraphs of installed packages stand for pages in other people's words. The
classifier of orders has as many texts that look like orders, too. Writes the profiles that ship.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console

from benchmarks.words.harmless import harmless_pictures
from benchmarks.words.screens import harmless_screens, injected_screens
from guardalign_middleware.words.guards.builtin import FOLDER, HEADS, BuiltinGuard, Head
from guardalign_middleware.words.guards.thresholds import Read, fit_guards
from guardalign_middleware.words.line import WordLine
from training.words.look_alikes import look_alikes
from training.words.readmes import paragraphs

_ORDERS = 156
FALSE_ALARMS = 0.01
"""Of each classifier, so 2% of both together; the rules of form have none on these pictures."""


def one_line(text: str) -> tuple[WordLine, ...]:
    """A picture of one long line."""
    width = 10.0 * len(text)
    corners = ((0.0, 0.0), (width, 0.0), (width, 20.0), (0.0, 20.0))
    return (WordLine(text, (0, 0, int(width), 20), corners, 0.0, 1.0),)


@dataclass(frozen=True)
class Development:
    """What thresholds are fitted on; nothing of it was learned from.

    Attributes:
        ordinary: drawn pictures and paragraphs of packages.
        alike: harmless texts that look like orders.
        orders: drawn pictures with an order.
    """

    ordinary: tuple[Read, ...]
    alike: tuple[Read, ...]
    orders: tuple[Read, ...]

    @classmethod
    def drawn(cls) -> Self:
        """As many drawings, paragraphs and texts that look like orders as there are of the last."""
        alike = look_alikes()
        screens = len(alike) // 3
        pictures = [
            *harmless_pictures("development", len(alike) - screens),
            *harmless_screens("development", screens),
        ]
        prose = random.Random(0).sample(paragraphs("fit"), len(alike))
        return cls(
            (*(picture.lines for picture in pictures), *map(one_line, prose)),
            tuple(map(one_line, alike)),
            tuple(picture.lines for picture in injected_screens("development", _ORDERS)),
        )

    def safe(self, head: Head) -> tuple[Read, ...]:
        """What a classifier should not flag.

        Texts that look like orders say nothing about harm: they would only make its share smaller.
        """
        return self.ordinary if head == "harm" else (*self.ordinary, *self.alike)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    shown = Development.drawn()
    for head in HEADS:
        guard = BuiltinGuard.load(head)
        (profile,) = fit_guards([guard], shown.safe(head), shown.orders, FALSE_ALARMS)
        profile.save(FOLDER / f"{head}.json")
        Console().print(f"{head}: τ = {profile.threshold:.6f}. {profile.guarantee}")


if __name__ == "__main__":
    main()
