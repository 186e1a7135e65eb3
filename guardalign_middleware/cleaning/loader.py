"""Decode the images of a value, each file once, and draw the pages of PDF files."""

from __future__ import annotations

from functools import partial

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.cleaning.loaded_images import Decoded, Picture, is_harmless
from guardalign_middleware.cleaning.outcomes import Refusal
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.intake.found_images import FoundImage
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.intake.pdf_blocks import load_pdf_file
from guardalign_middleware.intake.pdf_pages import found_pdf
from guardalign_middleware.intake.request import Room

_MAX_CACHED_BYTES = 128 * 2**20


class ImageLoader:
    """Decodes images; threads may share it.

    Args:
        guard: has the policy.
        cache_size: number of scans that are remembered beside it.
        allow_unscanned: whether PDF files that the policy refuses pass unread.
    """

    def __init__(self, guard: LazyGuard, cache_size: int, allow_unscanned: bool) -> None:
        self._guard = guard
        self._allow_unscanned = allow_unscanned
        self._decoded: BoundedCache[Decoded] = BoundedCache(
            4 * cache_size, _MAX_CACHED_BYTES, lambda _: 256
        )
        # What looks like a picture among words and cannot be read; histories hold it in each call.
        self._broken: BoundedCache[bool] = BoundedCache(4 * cache_size)

    def decoded(self, key: str) -> Decoded | None:
        """What is known of a file, by its fingerprint."""
        return self._decoded.get(key)

    def enter(
        self, found: FoundImage, room: Room, key: str | None, known: Picture | None
    ) -> Picture:
        """`load` for an image that counts, if there is room for it."""
        try:
            number = room.enter(found.place)
        except ImageRejected as error:
            return Picture(found, refused=error)
        return self.load(found, room, number, key, known)

    def load(
        self, found: FoundImage, room: Room, number: int, key: str | None, known: Picture | None
    ) -> Picture:
        """Decode an image unless its scan is cached.

        Args:
            found: the image.
            room: of the request.
            number: in the room; -1 if it has none.
            key: its fingerprint; None without one.
            known: with its cached scan, if there is one.
        """
        if found.refused is not None:
            return self._load_pdf(found, found.refused, room, number)
        if known is not None:
            return known
        if found.words and key and self._broken.get(key):
            return Picture(found)
        try:
            (image,) = room.load(
                number, found.place, lambda policy: (load_picture(found.part, found.place, policy),)
            )
        except (ImageRejected, MessageError) as error:
            harmless = is_harmless(found, error)
            if found.words and key and harmless and not _may_fit(error):
                self._broken.put(key, True)
            return Picture(found, refused=None if harmless else error)
        decoded = Decoded.of(image)
        if key:
            self._decoded.put(key, decoded)
        return Picture(found, decoded, image)

    def _load_pdf(self, found: FoundImage, refused: Refusal, room: Room, number: int) -> Picture:
        """Draw the pages of a PDF file, if the policy says so; other files stay refused."""
        file = found_pdf(found)
        if file is None:
            return Picture(found, refused=refused)
        policy = self._guard.config.intake
        if self._allow_unscanned and policy.pdf == "refuse":
            return Picture(found, refused=refused)
        if policy.pdf == "notice":
            return Picture(found, noted=file)
        draw = partial(load_pdf_file, file, found.place)
        try:
            # Without a number, it is refused under every policy.
            pages = draw(policy) if number < 0 else room.load(number, found.place, draw)
        except ImageRejected as error:
            return Picture(found, refused=error)
        return Picture(found, pages=tuple(Picture(found, Decoded.of(page), page) for page in pages))


def _may_fit(error: Refusal) -> bool:
    """Whether the next request may have room for it."""
    return isinstance(error, ImageRejected) and error.reason.startswith("too_many_")
