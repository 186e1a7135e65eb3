"""The two passes over what a model is about to see: `Finder` reads, `Shower` puts images back.

Both see the same places in the same order, so what the finder wrote down is what the shower reads.
A unit is the smallest thing that a notice can replace, such as a block: whatever in it cannot be
checked raises an error, and the innermost unit around it becomes the notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from llama_index.core.base.llms.types import ImageBlock, TextBlock

from guardalign_middleware import notices
from guardalign_middleware.errors import GuardAlignError, ImageRejected, MessageError
from guardalign_middleware.intake.found_images import in_order
from guardalign_middleware.intake.hidden_images import HiddenImage, may_hide_image, replace_hidden
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.sent_turns import digest_of
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.verdict_records import refusal_record
from llama_index.llms.guardalign.admission import Admission
from llama_index.llms.guardalign.images import Found, Resolver

Walk = Callable[[], Any]
Walked = TypeVar("Walked")
Refused = Callable[[str], Any]
"""Makes what stands in a unit's place, of the notice."""


class Visitor(Protocol):
    """What both passes do at each place.

    Attributes:
        count: number of pictures so far.
        turn: position of the message; None outside of messages.
    """

    count: int
    turn: int | None

    def picture(self, found: Found) -> SanitizedImage | None:
        """An image that a model would see; None while reading, and for mere numbers."""

    def words(self, text: str) -> str:
        """A text, in which only complete and unsafe pictures are replaced."""

    def unit(self, walk: Walk, refused: Refused, value: object, what: str = "image") -> Any:
        """Walk through a unit, or put a notice in its place."""

    def unscanned(self) -> None:
        """Count something that is forwarded although it cannot be scanned."""


@dataclass(frozen=True)
class Slot:
    """What was found at one place, in reading order.

    Attributes:
        picture: an image; None for a unit, and for a picture in words that cannot be read.
        error: why a unit is refused.
        what: the kind of thing that is refused, for the notice.
        in_words: whether the image stands in words, where no model sees it.
        turn: the position of its message; None outside of messages.
    """

    picture: CanonicalImage | None = None
    error: GuardAlignError | None = None
    what: str = "image"
    in_words: bool = False
    turn: int | None = None


class Asked(Exception):
    """Carries an error through all units to the user, who has just sent its cause."""

    def __init__(self, error: GuardAlignError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Finder:
    """Reads every picture, and writes down what cannot be checked.

    Attributes:
        resolve: reads one image.
        admission: says which images there is room for.
        raises: says by a unit's digest and message whether its error goes to the user.
        slots: what was found.
        unseen: number of things forwarded unscanned.
        turn: position of the message being read.
    """

    resolve: Resolver
    admission: Admission
    raises: Callable[[str, int | None], bool]
    slots: list[Slot] = field(default_factory=list)
    unseen: int = 0
    count: int = 0
    turn: int | None = None

    def read(self, walk: Callable[[], Walked]) -> Walked:
        """Do the whole pass.

        Raises:
            ImageRejected, MessageError: an error that goes to the user.
        """
        try:
            return walk()
        except Asked as asked:
            raise asked.error from asked.error.__cause__

    def picture(self, found: Found) -> None:
        """Read an image; an error refuses the unit."""
        picture = self.admission.read_if_any(found, self.resolve)
        # Numbers that are no picture do not make a block one that holds a picture.
        self.count += picture is not None
        self.slots.append(Slot(picture, turn=self.turn))

    def words(self, text: str) -> str:
        """Read the pictures in a text; those that cannot be read stay."""
        if may_hide_image(text):
            replace_hidden(text, self._read)
        return text

    def _read(self, image: HiddenImage) -> None:
        picture = self.admission.hidden(image, self.resolve.policy)
        self.slots.append(Slot(picture, in_words=True, turn=self.turn))

    def unit(self, walk: Walk, refused: Refused, value: object, what: str = "image") -> Any:
        """Walk through a unit; if something in it is refused, forget the rest of it."""
        place, unseen = len(self.slots), self.unseen
        self.slots.append(Slot(turn=self.turn))
        try:
            return walk()
        except (ImageRejected, MessageError) as error:
            if self.raises(digest_of(value), self.turn):
                raise Asked(error) from error
            del self.slots[place:]
            self.unseen = unseen
            self.slots.append(Slot(error=error, what=what, turn=self.turn))
            return value

    def unscanned(self) -> None:
        """Count something that is forwarded although it cannot be scanned."""
        self.unseen += 1

    @property
    def empty(self) -> bool:
        """Whether there is no picture anywhere, not even a broken one in words, and no refusal."""
        return all(
            slot.picture is None and slot.error is None and not slot.in_words for slot in self.slots
        )

    @property
    def found(self) -> list[Slot]:
        """The places of what has to be scanned, in reading order."""
        return [slot for slot in self.slots if slot.picture is not None]

    @property
    def pictures(self) -> list[CanonicalImage]:
        """What has to be scanned, in reading order."""
        return [slot.picture for slot in self.slots if slot.picture is not None]

    @property
    def refused(self) -> list[dict[str, str]]:
        """The records of what could not be checked."""
        return [refusal_record(slot.error) for slot in self.slots if slot.error is not None]


@contextmanager
def showing(
    slots: Sequence[Slot], images: Sequence[SanitizedImage], *, flag: bool = False
) -> Iterator[Shower]:
    """What shows cleaned images and notices in the places where the finder read.

    Args:
        slots: what the finder wrote down.
        images: its pictures after the guard.
        flag: whether the scanned pictures are shown, whatever was found in them.

    Raises:
        GuardError: stage `intake`; there are other places than the finder found.
    """
    with in_order(slots) as slot, in_order(images) as image:
        yield Shower(slot, image, flag)


class Shower:
    """Made by `showing`.

    Args:
        slot: gives what the finder wrote down about the next place.
        image: gives the next picture after the guard.
        flag: as for `showing`.
    """

    def __init__(
        self, slot: Callable[[], Slot], image: Callable[[], SanitizedImage], flag: bool
    ) -> None:
        self._slot, self._image, self._flag = slot, image, flag
        self.count = 0
        self.turn: int | None = None

    def picture(self, found: Found) -> SanitizedImage | None:
        """The cleaned image of this place; None where nothing could be read."""
        if self._slot().picture is None:
            return None
        self.count += 1
        item = self._image()
        return replace(item, image=item.original, passed=None) if self._flag else item

    def words(self, text: str) -> str:
        """The text with a cleaned picture, or a notice, for each unsafe picture in it."""
        return replace_hidden(text, self._shown) if may_hide_image(text) else text

    def _shown(self, _: HiddenImage) -> bytes | str | None:
        if self._slot().picture is None:
            return None
        item = self._image()
        if self._flag or not item.verdict.flagged:
            return None
        return notices.UNSAFE if item.image is None else encoded(item)[0]

    def unit(self, walk: Walk, refused: Refused, value: object, what: str = "image") -> Any:
        """Walk through a unit, or put the notice in its place."""
        slot = self._slot()
        if slot.error is None:
            return walk()
        return refused(notices.refused(slot.error, slot.what))

    def unscanned(self) -> None:
        """Counted already."""


def encoded(item: SanitizedImage) -> tuple[bytes, str]:
    """A cleaned image as a file, and its media type."""
    file = item.encode()
    return file.data, file.mime_type


def as_shown(item: SanitizedImage, detail: str | None = None) -> ImageBlock | TextBlock:
    """The block that shows a cleaned image, or the notice for a blocked one.

    Args:
        item: the image after the guard.
        detail: of the caller's block.
    """
    if item.image is None:
        return TextBlock(text=notices.UNSAFE)
    data, mime_type = encoded(item)
    return ImageBlock(image=data, image_mimetype=mime_type, detail=detail)
