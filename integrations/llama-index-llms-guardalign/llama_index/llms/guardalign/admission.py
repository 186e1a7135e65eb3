"""The caps of one request: measuring comes first, then an admission lets pictures be read."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TypeVar

from llama_index.core.base.llms.types import ChatMessage

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.hidden_images import HiddenImage, may_hide_image, replace_hidden
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.intake.request import Room, Sizes
from guardalign_middleware.types import CanonicalImage
from llama_index.llms.guardalign.images import Found, Resolver

Walk = Callable[[], object]
Walked = TypeVar("Walked")


class TooMuch(Exception):
    """Carries the error of a cap of the request through all units."""

    def __init__(self, error: MessageError) -> None:
        super().__init__(str(error))
        self.error = error


class Measurer:
    """A visitor that decodes nothing: it counts texts, and reads the headers of pictures.

    Args:
        resolve: has the policy.

    Attributes:
        count: number of pictures so far.
    """

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._sizes = Sizes(resolve.policy)
        self._keys: list[Hashable] = []
        self._refused = self._unseen = False
        self.count = 0

    @property
    def turn(self) -> int | None:
        """Position of the message; None outside of messages."""
        return None if self._sizes.turn < 0 else self._sizes.turn

    @turn.setter
    def turn(self, turn: int | None) -> None:
        self._sizes.turn = -1 if turn is None else turn

    def measure(self, walk: Callable[[], Walked]) -> Walked:
        """Do the whole pass.

        Raises:
            MessageError: there is more text than a request may have.
        """
        try:
            return walk()
        except TooMuch as error:
            raise error.error from None

    @property
    def admission(self) -> Admission:
        """For the pass that reads what was measured."""
        return Admission(self._sizes.room(), self._keys)

    def picture(self, found: Found) -> None:
        """An image that a model would see."""
        self.count += 1
        self._keys.append(_key(found))
        try:
            part: object = self._resolve.part(found)
        except ImageRejected:
            part = None
        self._sizes.picture(part)

    def words(self, text: str) -> str:
        """A text, with pictures in it or without."""
        self.count_text(text)
        if may_hide_image(text):
            replace_hidden(text, self._hidden)
        return text

    def count_text(self, text: str) -> None:
        """A text in which pictures are only words."""
        try:
            self._sizes.heard(text)
        except MessageError as error:
            raise TooMuch(error) from error

    def _hidden(self, image: HiddenImage) -> None:
        self._keys.append(image.data)
        self._sizes.picture({"type": "image", "image": image.data})

    def unit(self, walk: Walk, refused: object, value: object, what: str = "image") -> object:
        """Walk through a unit; what cannot be checked is for the next pass to say."""
        try:
            return walk()
        except (ImageRejected, MessageError):
            self._refused = True
            return value

    def unscanned(self) -> None:
        """What is forwarded unseen is for the next pass to count."""
        self._unseen = True

    @property
    def empty(self) -> bool:
        """Whether there is nothing to decode, to refuse or to count, so one pass is enough."""
        return not (self._keys or self._refused or self._unseen)


class Admission:
    """Lets the pictures that were measured be read, those of the latest messages first.

    Args:
        room: of the request.
        keys: recognize the pictures, in the order in which they were measured. A picture that is
            skipped, because its unit is refused, changes nothing for the others.
    """

    def __init__(self, room: Room, keys: list[Hashable]) -> None:
        self._room = room
        self._numbers: dict[Hashable, deque[int]] = defaultdict(deque)
        for number, key in enumerate(keys):
            self._numbers[key].append(number)

    def check(self, key: Hashable, place: str) -> int:
        """The number of the next picture with this key.

        Raises:
            ImageRejected: `too_many_images` or `too_many_pixels` in the request.
        """
        numbers = self._numbers[key]
        number = numbers.popleft() if numbers else -1
        if number < 0:
            # Only a walk that differs from the first one gets here.
            raise ImageRejected(
                f"{place} was not measured.",
                reason="unsupported_type",
                source=place,
                remedy="Pass messages that do not change while they are read.",
            )
        self._room.check(number, place)
        return number

    def read(self, found: Found, resolve: Resolver) -> CanonicalImage:
        """Read an image.

        Raises:
            ImageRejected, MessageError: as for `check` and the resolver.
        """
        return self._load(self.check(_key(found), found.place), found, resolve)

    def read_if_any(self, found: Found, resolve: Resolver) -> CanonicalImage | None:
        """As `read`; None for numbers that cannot be read as a picture."""
        number = self.check(_key(found), found.place)
        try:
            return self._load(number, found, resolve)
        except ImageRejected:
            if found.sure:
                raise
            return None

    def _load(self, number: int, found: Found, resolve: Resolver) -> CanonicalImage:
        def load(policy: IntakePolicy) -> tuple[CanonicalImage]:
            return (replace(resolve, policy=policy)(found),)

        return self._room.load(number, found.place, load)[0]

    def hidden(self, image: HiddenImage, policy: IntakePolicy) -> CanonicalImage | None:
        """Read a picture in words; None if it is none.

        Raises:
            ImageRejected: as for `check`; then it is not known whether it is one.
        """
        self.check(image.data, "text")
        try:
            return load_picture({"type": "image", "image": image.data}, "text", policy)
        except ImageRejected:
            return None


def _key(found: Found) -> Hashable:
    # Pillow's images cannot be hashed.
    return found if found.pillow is None else (found.place, found.digest or id(found.pillow))


def measured(
    messages: Sequence[ChatMessage],
    resolve: Resolver,
    walk: Callable[[Measurer, ChatMessage], object],
) -> Admission:
    """The admission for a conversation.

    Args:
        messages: a conversation.
        resolve: has the policy.
        walk: shows one message to the measurer.

    Raises:
        MessageError: there is more text than a request may have.
    """
    measurer = Measurer(resolve)

    def walk_all() -> None:
        for index, message in enumerate(messages):
            measurer.turn = index
            walk(measurer, message)

    measurer.measure(walk_all)
    return measurer.admission
