"""Pictures as they travel to a guard, in requests that are small enough for it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from guardalign_middleware.encode import png_bytes
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.turns import Turn
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.wire import GuardDescription, SentImage, SentTurn
from guardalign_middleware.wire.calls import MAX_LABEL

# Of names and brackets around a picture or a text.
_AROUND = 512
_SEPARATOR = re.compile(r"[/\\]")


@dataclass(frozen=True)
class Parcel:
    """The pictures of one request.

    Attributes:
        images: decoded here.
        sent: the same, as they travel.
        turns: the turns that they belong to; empty where each is by itself.
    """

    images: tuple[CanonicalImage, ...]
    sent: tuple[SentImage, ...]
    turns: tuple[SentTurn, ...] = ()

    def as_pixels(self) -> Parcel:
        """The same pictures as pixels, for a guard that decodes their files differently."""
        return Parcel(self.images, tuple(as_pixels(image) for image in self.images), self.turns)


def as_sent(image: CanonicalImage) -> SentImage:
    """The file of a picture where it decodes to these pixels; otherwise the pixels."""
    if image.file is None or image.scaled_from is not None:
        return as_pixels(image)
    return SentImage(image=_base64(image.file), source=_label(image))


def as_pixels(image: CanonicalImage) -> SentImage:
    """The pixels of a picture, without loss."""
    return SentImage(image=_base64(png_bytes(image)), pixels=True, source=_label(image))


def parcels(
    images: Sequence[CanonicalImage], turns: Sequence[Turn], guard: GuardDescription
) -> Iterator[Parcel]:
    """Divide pictures into requests; those of a turn stay together.

    Raises:
        ImageRejected: `too_many_bytes`; what has to stay together does not fit into one request.
        ValueError: the turns have more or fewer pictures than there are.
    """
    if turns and sum(turn.images for turn in turns) != len(images):
        raise ValueError(f"turns should have {len(images)} images together.")
    rest = iter(images)
    load = _Load(guard)
    alone: list[Turn | None] = [None] * len(images)
    for turn in turns or alone:
        group = [next(rest) for _ in range(1 if turn is None else turn.images)]
        sent = [as_sent(image) for image in group]
        said = None if turn is None else SentTurn(text=_clean(turn.text), images=turn.images)
        if load.images and not load.has_room(group, sent, said):
            yield load.parcel()
            load = _Load(guard)
        load.add(group, sent, said)
        load.check()
    if load.images:
        yield load.parcel()


class _Load:
    """A request that is being filled."""

    def __init__(self, guard: GuardDescription) -> None:
        self._guard = guard
        self._bytes = _AROUND
        self.images: list[CanonicalImage] = []
        self._said = 0
        self._sent: list[SentImage] = []
        self._turns: list[SentTurn] = []

    def has_room(
        self, images: Sequence[CanonicalImage], sent: Sequence[SentImage], turn: SentTurn | None
    ) -> bool:
        """Whether more fits in."""
        return (
            self._bytes + _bytes_of(sent, turn) <= self._guard.max_body_bytes
            and len(self.images) + len(images) <= self._guard.max_images
            and _pixels(self.images) + _pixels(images) <= self._guard.max_pixels
            and self._said + _said(turn) <= self._guard.max_text_characters
        )

    def add(
        self, images: Sequence[CanonicalImage], sent: Sequence[SentImage], turn: SentTurn | None
    ) -> None:
        """Put more in."""
        self._bytes += _bytes_of(sent, turn)
        self.images += images
        self._sent += sent
        if turn is not None:
            self._turns.append(turn)
            self._said += _said(turn)

    def check(self) -> None:
        """Refuse what no request can hold, before it is sent."""
        if not self.images or self.has_room((), (), None):
            return
        first = self.images[0].source
        raise ImageRejected(
            f"{first} needs a request of {self._bytes:,} bytes, {len(self.images)} pictures, "
            f"{_pixels(self.images):,} pixels and {self._said:,} characters; the guard reads "
            f"{self._guard.max_body_bytes:,}, {self._guard.max_images}, "
            f"{self._guard.max_pixels:,} and {self._guard.max_text_characters:,}.",
            reason="too_many_bytes",
            source=first,
            remedy="Send fewer or smaller pictures in a message, or raise the limits in the "
            "section serve of the guard's preset.",
        )

    def parcel(self) -> Parcel:
        """What was put in."""
        return Parcel(tuple(self.images), tuple(self._sent), tuple(self._turns))


def _bytes_of(sent: Sequence[SentImage], turn: SentTurn | None) -> int:
    # Every character of a text may take six in JSON.
    text = 0 if turn is None else 6 * len(turn.text) + _AROUND
    return sum(len(image.image) + 6 * len(image.source or "") + _AROUND for image in sent) + text


def _said(turn: SentTurn | None) -> int:
    return 0 if turn is None else len(turn.text)


def _pixels(images: Sequence[CanonicalImage]) -> int:
    return sum(image.width * image.height for image in images)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _label(image: CanonicalImage) -> str:
    """The name of a file, without its folder: that is of no concern to another machine."""
    return _SEPARATOR.split(_clean(image.source))[-1][-MAX_LABEL:]


def _clean(text: str) -> str:
    """The text without what UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
