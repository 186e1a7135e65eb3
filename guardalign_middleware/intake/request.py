"""The caps of one request, kept in two passes: `Sizes` measures, then `Room` lets pictures in.

Measuring reads at most the headers of pictures and decodes none. Pictures are counted from the last
one back, so that those of a conversation's older turns give way to what has just been sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.data_url import decode_base64, is_data_url, parse_data_url
from guardalign_middleware.intake.decode import header_pixels
from guardalign_middleware.types import CanonicalImage, ImagePart

Frames = tuple[CanonicalImage, ...]
Load = Callable[[IntakePolicy], Frames]
"""Loads the frames of a picture under the policy that it is given."""

NOT_DECODED = CanonicalImage(np.zeros((1, 1, 3), dtype=np.uint8), "<not decoded>")
"""Stands for a picture while it is measured."""

# A text of so many characters may be a file, or hold some.
_LONG = 4096
# No word is so long.
_FILE = re.compile(r"[A-Za-z0-9+/_-]{60,}+")
_BY_FRAMES = {"too_many_pixels", "too_many_frames", "too_many_pages"}


@dataclass
class Sizes:
    """The first pass.

    Attributes:
        policy: has the caps.
        texts: what was read, with the position of its message.
        pictures: what was found, in reading order: the position of the message, and the part.
        turn: position of the message that is being read.
        sent: position of the last message if the user has sent it; otherwise -1.
    """

    policy: IntakePolicy
    texts: list[tuple[int, str]] = field(default_factory=list)
    pictures: list[tuple[int, object]] = field(default_factory=list)
    turn: int = -1
    sent: int = -1
    _characters: int = 0

    @property
    def characters(self) -> int:
        """Of all texts so far, and one more for each."""
        return self._characters

    def text(self, text: str) -> None:
        """Count a text.

        Raises:
            MessageError: the texts of the request are too long together.
        """
        # One more each, because empty ones take time too.
        self._characters += len(text) + 1
        if self._characters > self.policy.max_request_text:
            raise MessageError(
                f"The request has more than {self.policy.max_request_text:,} characters of text.",
                remedy="Shorten it, or raise intake.max_request_text.",
            )
        self.texts.append((self.turn, text))

    def heard(self, text: str) -> None:
        """Count a text on its way to another model, which may hold files as base64.

        Raises:
            MessageError: as for `text`.
        """
        self.text(text if len(text) < _LONG else _without_files(text))

    def read(self, part: object, place: str, load: Load) -> Frames:
        """Count a picture; it is not loaded, and one black pixel stands for it."""
        self.picture(part)
        return (NOT_DECODED,)

    def picture(self, part: object) -> None:
        """Count a picture."""
        self.pictures.append((self.turn, part))

    def room(self) -> Room:
        """What the second pass needs; reads the headers of pictures that could be too many."""
        policy = self.policy
        if len(self.pictures) * policy.max_pixels <= policy.max_request_pixels:
            return Room(policy, [0] * len(self.pictures))
        return Room(policy, [declared_pixels(part, policy) for _, part in self.pictures])


class Room:
    """The second pass, which must find the same pictures in the same order.

    Args:
        policy: has the caps.
        pixels: of each picture, as it was measured; 0 where that is not known.
    """

    def __init__(self, policy: IntakePolicy, pixels: Sequence[int]) -> None:
        self._policy = policy
        self._planned = list(pixels)
        self._open = False
        self._images_left, self._pixels_left = policy.max_request_images, policy.max_request_pixels
        self._refused: dict[int, str] = {}
        for index in reversed(range(len(pixels))):
            if self._images_left == 0:
                self._refused[index] = "images"
            elif pixels[index] > self._pixels_left:
                self._refused[index] = "pixels"
            else:
                self._images_left -= 1
                self._pixels_left -= pixels[index]
        self._next = 0

    @classmethod
    def unplanned(cls, policy: IntakePolicy) -> Self:
        """For pictures of which none was measured: the first ones get the room."""
        room = cls(policy, ())
        room._open = True
        return room

    def read(self, part: object, place: str, load: Load) -> Frames:
        """Load the next picture, if there is room for it.

        Raises:
            ImageRejected: `too_many_images` or `too_many_pixels` in the request, or what `load`
                raises.
        """
        return self.load(self.enter(place), place, load)

    def enter(self, place: str) -> int:
        """Pass on to the next picture, whether it is loaded or not; its number.

        Raises:
            ImageRejected: `too_many_images` or `too_many_pixels` in the request.
        """
        index, self._next = self._next, self._next + 1
        if self._open and self._images_left > 0:
            self._images_left -= 1
            self._planned.append(0)
        self.check(index, place)
        return index

    def check(self, index: int, place: str) -> None:
        """Whether there is room for a picture, by its number; errors as for `enter`."""
        why = self._refused.get(index)
        if index >= len(self._planned) or why is not None:
            raise self._too_many(why or "images", place)

    def load(self, index: int, place: str, load: Load) -> Frames:
        """Load a picture that was let in; errors as for `read`.

        Frames after the first, and pictures whose size was not known, take what room is left in
        the order in which they are loaded.
        """
        planned = self._planned[index]
        policy = self._narrowed(planned, place)
        try:
            frames = load(policy)
        except ImageRejected as error:
            if policy is self._policy or error.reason not in _BY_FRAMES:
                raise
            raise self._too_many("pixels", place) from error
        used = sum(frame.width * frame.height for frame in frames)
        self._pixels_left -= max(0, used - planned)
        self._images_left -= len(frames) - 1
        return frames

    def _narrowed(self, planned: int, place: str) -> IntakePolicy:
        """The policy with caps that leave the request's own caps intact."""
        policy = self._policy
        pixels, images = self._pixels_left + planned, self._images_left + 1
        several = policy.frames == "scan_all" or policy.pdf == "pages"
        if planned and not several:
            return policy
        if pixels < 1 or images < 1:
            raise self._too_many("pixels" if pixels < 1 else "images", place)
        caps = {
            "max_pixels": min(policy.max_pixels, pixels),
            "max_total_pixels": min(policy.max_total_pixels, pixels),
            "max_frames": min(policy.max_frames, images),
            "max_pdf_pages": min(policy.max_pdf_pages, images),
        }
        same = all(getattr(policy, name) == cap for name, cap in caps.items())
        return policy if same else policy.model_copy(update=caps)

    def _too_many(self, what: str, place: str) -> ImageRejected:
        policy = self._policy
        cap = policy.max_request_images if what == "images" else policy.max_request_pixels
        have = "more pictures" if what == "images" else "pictures of more pixels together"
        return ImageRejected(
            f"{place}: the request has {have} than are accepted ({cap:,}).",
            reason=f"too_many_{what}",
            source=place,
            remedy=f"Send fewer or smaller pictures, or raise intake.max_request_{what}.",
        )


def _without_files(text: str) -> str:
    return _FILE.sub("", text)


def check_message_count(count: int, policy: IntakePolicy) -> None:
    """Refuse a conversation of too many messages.

    Raises:
        MessageError: there are more than `policy.max_request_messages`.
    """
    if count > policy.max_request_messages:
        raise MessageError(
            f"The request has {count:,} messages; at most {policy.max_request_messages:,} are "
            "accepted.",
            remedy="Leave out the oldest ones, or raise intake.max_request_messages.",
        )


def declared_pixels(part: object, policy: IntakePolicy) -> int:
    """The pixels of an image part by its header.

    0 where only loading can tell: behind a path or a URL, in a PDF file, and for what cannot be
    loaded.
    """
    value: object = part
    encoded = False
    if isinstance(part, ImagePart):
        value = part.image
    elif isinstance(part, Mapping):
        value = part.get("image_url")
        value = value.get("url") if isinstance(value, Mapping) else value
        for key in ("base64", "image", "url"):
            if value is None:
                value, encoded = part.get(key), key == "base64"
    if isinstance(value, CanonicalImage | Image.Image):
        return value.width * value.height
    try:
        if isinstance(value, str) and encoded:
            value = decode_base64(value, policy, "")
        elif isinstance(value, str) and is_data_url(value):
            value = parse_data_url(value, policy).data
    except ImageRejected:
        return 0
    if isinstance(value, bytes | bytearray | memoryview) and len(value) <= policy.max_bytes:
        return header_pixels(bytes(value), policy)
    return 0
