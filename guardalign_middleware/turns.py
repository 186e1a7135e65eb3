"""The pictures of one turn, whose words are judged together with what the user says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from guardalign_middleware.boxes import coverage
from guardalign_middleware.config import SanitizeConfig
from guardalign_middleware.sanitize import SanitizedImage, sanitize
from guardalign_middleware.types import SEVERITY, CanonicalImage, Region, Verdict


@dataclass(frozen=True)
class Turn:
    """A message: what it says, and how many pictures it has."""

    text: str
    images: int


FindTogether = Callable[[Sequence[CanonicalImage]], list[tuple[Region, ...]]]
"""What is unsafe in each picture of a turn when all are read as one."""


def shown(items: Sequence[SanitizedImage]) -> list[CanonicalImage]:
    """The pictures that a model would see, and that were scanned."""
    return [item.image for item in items if item.image is not None and item.passed is not None]


def in_turns(
    items: Sequence[SanitizedImage],
    turns: Sequence[Turn],
    together: Callable[[list[SanitizedImage], str], list[SanitizedImage]],
) -> list[SanitizedImage]:
    """The items of each turn, `together` with its text.

    Raises:
        ValueError: the turns have more or fewer pictures than there are.
    """
    if sum(turn.images for turn in turns) != len(items):
        raise ValueError(f"turns should have {len(items)} images together.")
    rest = iter(items)
    return [item for turn in turns for item in together(list(islice(rest, turn.images)), turn.text)]


def clean_together(
    items: Sequence[SanitizedImage],
    found: Sequence[tuple[Region, ...]],
    find: FindTogether,
    rescan: Callable[[CanonicalImage], Verdict],
    config: SanitizeConfig,
) -> list[SanitizedImage]:
    """Hide what only the whole turn shows to be unsafe, in pictures that passed by themselves.

    Args:
        items: all pictures of the turn.
        found: by `find` in those that are `shown`, in order.
        find: asks again, about masked copies among the others as they are.
        rescan: scans a masked copy by itself.
        config: how unsafe regions are hidden.

    Raises:
        GuardError: a scan, the reader or a guard of texts failed.
    """
    from guardalign_middleware.words.policy import with_words

    images = shown(items)
    places = iter(range(len(images)))
    cleaned: list[SanitizedImage] = []
    for item in items:
        if item.image is None or item.passed is None:
            cleaned.append(item)
            continue
        place = next(places)
        if not found[place]:
            cleaned.append(item)
            continue

        def again(masked: CanonicalImage, place: int = place) -> Verdict:
            verdict = rescan(masked)
            return with_words(verdict, find([*images[:place], masked, *images[place + 1 :]])[place])

        first = with_words(item.passed, found[place])
        cleaned.append(_both(item, sanitize(item.image, first, again, config), found[place]))
    return cleaned


def _both(
    item: SanitizedImage, again: SanitizedImage, regions: tuple[Region, ...]
) -> SanitizedImage:
    """What was done to a picture by itself, and then for its turn, as one result."""
    verdict = replace(
        item.verdict,
        decision=max(item.verdict.decision, again.verdict.decision, key=SEVERITY.index),
        category=(item if item.verdict.flagged else again).verdict.category,
        regions=(*item.verdict.regions, *regions),
    )
    boxes = () if again.image is None else (*item.boxes, *again.boxes)
    covered = float(coverage(boxes, verdict.width, verdict.height).mean())
    return replace(
        item,
        image=again.image,
        verdict=verdict,
        rounds=item.rounds + again.rounds,
        masked_fraction=again.masked_fraction if again.image is None else covered,
        residual_distance=again.residual_distance,
        boxes=boxes,
        passed=again.passed,
    )
