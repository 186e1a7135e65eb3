"""Fit the thresholds of the built-in classifiers: `python -m benchmarks.words.fit_thresholds`.

On the drawn lines of the development halves, so no picture is read: a reader's faults only take
evidence away. Writes the profiles that ship.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from benchmarks.words.harmless import harmless_pictures
from benchmarks.words.screens import harmless_screens, injected_screens
from guardalign_middleware.words.guards.builtin import FOLDER, HEADS, BuiltinGuard
from guardalign_middleware.words.guards.thresholds import fit_guards

_HARMLESS, _SCREENS = 312, 156
# Of both classifiers together; the rules of form have none on these pictures.
_FALSE_ALARMS = 0.02


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    safe = [
        *harmless_pictures("development", _HARMLESS),
        *harmless_screens("development", _SCREENS),
    ]
    unsafe = [picture.lines for picture in injected_screens("development", _SCREENS)]
    guards = [BuiltinGuard.load(head) for head in HEADS]
    profiles = fit_guards(guards, [picture.lines for picture in safe], unsafe, _FALSE_ALARMS)
    for head, profile in zip(HEADS, profiles, strict=True):
        profile.save(FOLDER / f"{head}.json")
        Console().print(f"{head}: τ = {profile.threshold:.6f}. {profile.guarantee}")


if __name__ == "__main__":
    main()
