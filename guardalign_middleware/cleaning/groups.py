"""Which pictures of a value are scanned together: those of a turn, where its words are judged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from guardalign_middleware.cleaning.loaded_images import Decoded, Picture, has_pages
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.intake.found_images import FoundImage
from guardalign_middleware.turns import by_turn

Told = tuple[Hashable, str]
"""What recognizes a turn, and what is said in it."""
ToldWith = Callable[[FoundImage], Told | None]
"""The turn of an image; None if it is in none."""


@dataclass(frozen=True, eq=False)
class Group:
    """Pictures that are scanned together.

    Attributes:
        key: equal for equal pictures with equal words.
        text: what is said with them.
        pictures: in reading order.
    """

    key: str
    text: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, eq=False)
class Read:
    """A value without forged records, its images in reading order, and those scanned together."""

    value: object
    pictures: Sequence[Picture]
    groups: Sequence[Group]


@dataclass(frozen=True)
class Grouping:
    """Finds the pictures of a value that are scanned together.

    Attributes:
        told_with: the turn of an image.
        policy: says which PDF files have pages.
    """

    told_with: ToldWith
    policy: IntakePolicy

    def places(self, found: Sequence[FoundImage]) -> list[list[int]]:
        """The positions of images that belong together."""
        told = [self._told(each) for each in found]
        return by_turn([None if each is None else each[0] for each in told])

    def key(self, found: FoundImage, decoded: Sequence[Decoded]) -> str:
        """The key of a group.

        Args:
            found: any of its images.
            decoded: all of them.
        """
        told = self._told(found)
        text = "" if told is None else told[1]
        if len(decoded) == 1 and not text.strip():
            return decoded[0].key
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return " ".join([digest, *(each.key for each in decoded)])

    def groups(self, pictures: Sequence[Picture]) -> list[Group]:
        """The groups of what was decoded, pages of PDF files included."""
        loaded = [
            (each, each.decoded)
            for picture in pictures
            for each in (picture.pages or (picture,))
            if each.decoded is not None
        ]
        groups = []
        for places in self.places([each.found for each, _ in loaded]):
            own = [loaded[place] for place in places]
            first = own[0][0].found
            told = self._told(first)
            key = self.key(first, [decoded for _, decoded in own])
            text = "" if told is None else told[1]
            groups.append(Group(key, text, tuple(picture for picture, _ in own)))
        return groups

    def _told(self, found: FoundImage) -> Told | None:
        # No model sees a picture among words, or what is refused.
        refused = found.refused is not None and not has_pages(found, self.policy)
        return None if found.words or refused else self.told_with(found)
