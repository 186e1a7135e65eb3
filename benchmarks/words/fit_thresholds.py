"""Fit the thresholds of the built-in classifiers: `python -m benchmarks.words.fit_thresholds`.

On the drawn lines of the development halves, so no picture is read: a reader's faults only take
evidence away. As many paragraphs of installed packages stand for pages in other people's words. The
classifier of orders has as many texts that look like orders, too. Writes the profiles that ship.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

from rich.console import Console

from benchmarks.words.harmless import harmless_pictures
from benchmarks.words.screens import harmless_screens, injected_screens
from guardalign_middleware.words.guards.builtin import FOLDER, HEADS, BuiltinGuard, Head
from guardalign_middleware.words.guards.thresholds import Read, fit_guards
from guardalign_middleware.words.line import WordLine
from training.words.look_alikes import look_alikes
from training.words.readmes import paragraphs

_ORDERS = 156
# Of each classifier, so 2% of both together; the rules of form have none on these pictures.
_FALSE_ALARMS = 0.01


def one_line(text: str) -> tuple[WordLine, ...]:
    """A picture of one long line."""
    width = 10.0 * len(text)
    corners = ((0.0, 0.0), (width, 0.0), (width, 20.0), (0.0, 20.0))
    return (WordLine(text, (0, 0, int(width), 20), corners, 0.0, 1.0),)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    alike = look_alikes()
    screens = len(alike) // 3
    drawn = [
        *harmless_pictures("development", len(alike) - screens),
        *harmless_screens("development", screens),
    ]
    safe: list[Read] = [picture.lines for picture in drawn]
    safe += map(one_line, random.Random(0).sample(paragraphs("fit"), len(alike)))
    unsafe = [picture.lines for picture in injected_screens("development", _ORDERS)]
    # Texts that look like orders say nothing about harm: they would only make its share smaller.
    shown: dict[Head, list[Read]] = {"harm": safe, "injection": [*safe, *map(one_line, alike)]}
    for head in HEADS:
        guard = BuiltinGuard.load(head)
        (profile,) = fit_guards([guard], shown[head], unsafe, _FALSE_ALARMS)
        profile.save(FOLDER / f"{head}.json")
        Console().print(f"{head}: τ = {profile.threshold:.6f}. {profile.guarantee}")


if __name__ == "__main__":
    main()
