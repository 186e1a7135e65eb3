"""A guard's answers of one kind, remembered: by themselves, and for a turn as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.config import DetectionConfig
from guardalign_middleware.sanitize import Cleaning
from guardalign_middleware.turns import Turn
from guardalign_middleware.types import CanonicalImage, Verdict

Result = TypeVar("Result", Verdict, Cleaning)
Entry = TypeVar("Entry")
Source = TypeVar("Source")
Ask = Callable[[Sequence[CanonicalImage], Sequence[Turn], str | None], Iterable[Result]]
_Told = tuple[Turn, tuple[CanonicalImage, ...]]


@dataclass(frozen=True)
class Remembered(Generic[Result]):
    """Asks a guard, and remembers what it answered; threads may share it.

    Attributes:
        kept: how much is remembered.
        ask: asks the guard about images of turns, or about each by itself; with a view seed. The
            results come as its answers do.
        verdict_of: the verdict in an answer; one after a fault is not remembered.
        of_passed: the answer on a file that left a guard like this one.
        passed: the verdicts on such files, None for others.
        always: whether to ask about what is known as well, because the guard records each call.
    """

    kept: DetectionConfig
    ask: Ask[Result]
    verdict_of: Callable[[Result], Verdict]
    of_passed: Callable[[Verdict], Result]
    passed: Callable[[Sequence[CanonicalImage]], Sequence[Verdict | None]]
    always: bool
    _alone: BoundedCache[Result] = field(init=False)
    _together: BoundedCache[tuple[Result, ...]] = field(init=False)

    def __post_init__(self) -> None:
        most, size = self.kept.remembered_verdicts, self.kept.remembered_bytes

        def kept(result: Result) -> bool:
            return self.verdict_of(result).fault is None

        alone: BoundedCache[Result] = BoundedCache(most, size, lambda one: one.nbytes, kept)
        together: BoundedCache[tuple[Result, ...]] = BoundedCache(
            most,
            size,
            lambda results: sum(one.nbytes for one in results),
            lambda results: all(map(kept, results)),
        )
        object.__setattr__(self, "_alone", alone)
        object.__setattr__(self, "_together", together)

    def answers(self, images: Sequence[CanonicalImage], view_seed: str | None) -> list[Result]:
        """One for each image, by itself."""
        if self.always:
            return list(self.ask(images, (), view_seed))
        passed = self.passed(images) if view_seed is None else [None] * len(images)
        new = {
            f"{image.sha256}:{view_seed}": image
            for image, verdict in zip(images, passed, strict=True)
            if verdict is None
        }
        found = _found(self._alone, new, lambda missing: self.ask(missing, (), view_seed))
        return [
            found[f"{image.sha256}:{view_seed}"] if verdict is None else self.of_passed(verdict)
            for image, verdict in zip(images, passed, strict=True)
        ]

    def by_turn(self, images: Sequence[CanonicalImage], turns: Sequence[Turn]) -> list[Result]:
        """One for each image, with the words of its turn.

        Raises:
            ValueError: the turns have more or fewer images than there are.
        """
        if sum(turn.images for turn in turns) != len(images):
            raise ValueError(f"turns should have {len(images)} images together.")
        if self.always:
            return list(self.ask(images, turns, None))
        rest = iter(images)
        told = [(turn, tuple(islice(rest, turn.images))) for turn in turns]
        alone = [image for turn, own in told if not turn.together for image in own]
        by_itself = iter(self.answers(alone, None))
        sources = {_key(*each): each for each in told if each[0].together}
        found = _found(self._together, sources, self._ask_turns)
        return [
            result
            for turn, own in told
            for result in (found[_key(turn, own)] if turn.together else islice(by_itself, len(own)))
        ]

    def _ask_turns(self, told: Sequence[_Told]) -> Iterator[tuple[Result, ...]]:
        images = [image for _, own in told for image in own]
        results = iter(self.ask(images, [turn for turn, _ in told], None))
        for _, own in told:
            yield tuple(islice(results, len(own)))


def _found(
    cache: BoundedCache[Entry],
    sources: Mapping[str, Source],
    ask: Callable[[list[Source]], Iterable[Entry]],
) -> dict[str, Entry]:
    """An entry for each key: cached, or asked for.

    A thread that needs one entry waits for another thread that has asked for it alone. Of several,
    each thread asks by itself: waiting for another's request would mean waiting for all of its
    pictures, while the guard scans equal ones once and answers as soon as it can.
    """
    found = {key: entry for key in sources if (entry := cache.get(key)) is not None}
    rest = {key: source for key, source in sources.items() if key not in found}
    if len(rest) == 1:
        return found | cache.get_many(rest, lambda missing: list(ask(missing)))
    for key, entry in zip(rest, ask(list(rest.values())), strict=True):
        cache.put(key, entry)
        found[key] = entry
    return found


def _key(turn: Turn, images: Sequence[CanonicalImage]) -> str:
    """Recognizes what is said in a turn, and its images."""
    digest = hashlib.sha256(turn.text.encode("utf-8", "surrogatepass"))
    return ":".join([digest.hexdigest(), *(image.sha256 for image in images)])
