"""A guard of texts that asks a function of the application."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.words.guards.guard import Assessment
from guardalign_middleware.words.judge import STAGE

Ask = Callable[[Sequence[str]], Sequence[tuple[str, float]]]
"""Texts to one `(category, distance)` each; low = unsafe."""


class FunctionGuard:
    """Asks a function.

    Args:
        ask: gets the texts, and returns a category and a distance for each; low = unsafe.
        name: of the function and its version. Verdicts are cached, and thresholds bound, under it:
            change it when the function changes.

    Raises:
        ConfigError: the name is empty.
    """

    def __init__(self, ask: Ask, *, name: str) -> None:
        if not name.strip():
            raise ConfigError(
                "A function that guards texts needs a name.",
                remedy="Name it and its version: verdicts are cached under the name.",
            )
        self._ask, self._name = ask, name

    @property
    def fingerprint(self) -> str:
        """Made of the name."""
        return f"function:{self._name}"

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        """Ask the function.

        Raises:
            GuardError: the function raised an error, or returned something else than asked for.
        """
        try:
            found = [
                Assessment(str(category), float(distance))
                for category, distance in self._ask(list(texts))
            ]
        except Exception as error:
            # An application's function may fail in any way; none of them may read as safe.
            raise GuardError(
                f"The function {self._name!r} that guards texts failed: {error}",
                stage=STAGE,
                remedy="It should return a category and a distance, a number, for each text.",
            ) from error
        return tuple(found)
