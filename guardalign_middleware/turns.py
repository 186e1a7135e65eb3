"""The pictures of one turn, whose words are judged together with what is said with them.

A turn is what one sender says before another one answers: a text split over two messages is one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, TypeVar

from guardalign_middleware.boxes import coverage
from guardalign_middleware.config import GuardAlignConfig, SanitizeConfig
from guardalign_middleware.sanitize import SanitizedImage, sanitize
from guardalign_middleware.types import SEVERITY, CanonicalImage, Message, Region, Verdict

Item = TypeVar("Item")


@dataclass(frozen=True)
class Turn:
    """What is said in a turn, and how many pictures it has."""

    text: str
    images: int

    @property
    def together(self) -> bool:
        """Whether its pictures can say more together, or with the text, than by themselves."""
        return self.images > 1 or (self.images == 1 and bool(self.text.strip()))


class Spoken:
    """Which messages of a conversation are one turn, and what is said in it.

    Messages of one sender are, if nobody else speaks between them; the system does not count.

    Args:
        roles: of all messages, as the core names them; "" for an unknown one.
        text: what the message at a position says.
    """

    def __init__(self, roles: Sequence[str], text: Callable[[int], str]) -> None:
        self._text = text
        self._numbers = _turn_numbers(roles)
        self._said: dict[int, str] = {}

    def number(self, message: int) -> int:
        """The turn of the message at a position: that of its first message."""
        return self._numbers[message]

    def said(self, message: int) -> str:
        """What is said in the turn of the message at a position."""
        number = self._numbers[message]
        if number not in self._said:
            messages = [index for index, each in enumerate(self._numbers) if each == number]
            self._said[number] = "\n".join(filter(None, map(self._text, messages)))
        return self._said[number]


def _turn_numbers(roles: Sequence[str]) -> list[int]:
    numbers: list[int] = []
    speaker: str | None = None
    first = 0
    for index, role in enumerate(roles):
        if role == "system":
            numbers.append(index)
            continue
        if role != speaker:
            speaker, first = role, index
        numbers.append(first)
    return numbers


def joins_words(config: GuardAlignConfig) -> bool:
    """Whether a guard with this config judges the words of a turn together."""
    return config.words.mode == "guard"


def by_turn(keys: Sequence[Hashable | None]) -> list[list[int]]:
    """The positions of the pictures of each turn; a picture whose key is None is one by itself."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(("alone", index) if key is None else ("turn", key), []).append(index)
    return list(groups.values())


class Sanitizes(Protocol):
    """A guard, in this process or in another one."""

    def sanitize_many(
        self, sources: Sequence[CanonicalImage], *, turns: Sequence[Turn] = ()
    ) -> list[SanitizedImage]:
        """As `ImageGuard.sanitize_many`."""
        ...


def sanitize_by_turn(
    guard: Sanitizes,
    images: Sequence[CanonicalImage],
    keys: Sequence[Hashable | None],
    said: Callable[[int], str],
) -> list[SanitizedImage]:
    """Clean pictures with the words of each turn together; the results keep the pictures' order.

    Args:
        guard: cleans.
        images: the pictures.
        keys: recognize the turn of each picture; None = it is by itself.
        said: what is said in the turn of the picture at a position.
    """
    groups = by_turn(keys)
    turns = [Turn("" if keys[group[0]] is None else said(group[0]), len(group)) for group in groups]
    order = [index for group in groups for index in group]
    items = guard.sanitize_many([images[index] for index in order], turns=turns)
    return [item for _, item in sorted(zip(order, items, strict=True), key=lambda pair: pair[0])]


FindTogether = Callable[[Sequence[CanonicalImage]], list[tuple[Region, ...]]]
"""What is unsafe in each picture of a turn when all are read as one."""


def shown(items: Sequence[SanitizedImage]) -> list[CanonicalImage]:
    """The pictures that a model would see, and that were scanned."""
    return [item.image for item in items if item.image is not None and item.passed is not None]


def sanitize_conversations(
    guard: Sanitizes, conversations: Sequence[Sequence[Message]]
) -> list[SanitizedImage]:
    """The images of conversations, in order, cleaned with what is said in their turns."""
    spoken = [_spoken(messages) for messages in conversations]
    found = [
        (image, number, at)
        for number, messages in enumerate(conversations)
        for at, message in enumerate(messages)
        for image in message.images
    ]
    return sanitize_by_turn(
        guard,
        [image for image, *_ in found],
        [(number, spoken[number].number(at)) for _, number, at in found],
        lambda index: spoken[found[index][1]].said(found[index][2]),
    )


def _spoken(messages: Sequence[Message]) -> Spoken:
    return Spoken([message.role for message in messages], lambda at: messages[at].text)


def of_frames(turns: Sequence[Turn], files: Sequence[Sequence[Item]]) -> list[Turn]:
    """Turns that have files, as turns that have their frames; none without turns.

    Raises:
        ValueError: the turns have more or fewer files than there are.
    """
    if not turns:
        return []
    frames = in_turns([len(file) for file in files], turns, lambda counts, _: [sum(counts)])
    return [Turn(turn.text, count) for turn, count in zip(turns, frames, strict=True)]


def in_turns(
    items: Sequence[Item],
    turns: Sequence[Turn],
    together: Callable[[list[Item], str], list[Item]],
) -> list[Item]:
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

    What it only flags is added to their verdicts.

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
        if all(region.action == "flag" for region in found[place]):
            cleaned.append(replace(item, verdict=with_words(item.verdict, found[place])))
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
    from guardalign_middleware.words.policy import with_words

    verdict = replace(
        item.verdict,
        decision=max(item.verdict.decision, again.verdict.decision, key=SEVERITY.index),
        category=(item if item.verdict.flagged else again).verdict.category,
        regions=with_words(item.verdict, regions).regions,
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
