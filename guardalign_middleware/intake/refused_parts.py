"""Stands in for a refused part of a message, until the chain decides to raise or to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from guardalign_middleware import notices
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.block_kinds import UNTYPED, kind_of
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.pdf_blocks import pdf_file, pdf_notice
from guardalign_middleware.replies import Refused
from guardalign_middleware.sent_turns import digest_of
from guardalign_middleware.types import ImagePart, TextPart

Refusal = ImageRejected | MessageError


@dataclass(frozen=True, eq=False)
class RefusedPart:
    """A part that cannot be shown, in its place in the content.

    Adapters put it into the content that they hand to the chain, which raises the error or shows a
    notice, by the options of `handling.py`.

    Attributes:
        error: why it is refused; it names the place.
        notice: what a model sees in its place.
        place: its position, as in `messages[0].content[1]`.
        digest: recognizes it in a later call.
    """

    error: Refusal
    notice: TextPart
    place: str
    digest: str

    @classmethod
    def of(cls, error: Refusal, part: object, place: str) -> RefusedPart:
        """For the part that was read when the error was raised."""
        return cls(error, TextPart(_notice(error, part)), place, digest_of(part))

    @property
    def record(self) -> Refused:
        """Its entry in a reply."""
        return Refused.by(self.error, self.place)


def _notice(error: Refusal, part: object) -> str:
    file = pdf_file(part) if isinstance(part, Mapping) else None
    if file is not None and isinstance(error, ImageRejected):
        return pdf_notice(file, error)
    return notices.refused(error, _what(part))


def _what(part: object) -> str:
    if isinstance(part, str | ImagePart):
        return "image"
    if not isinstance(part, Mapping):
        return "part"
    name = block_type(part)
    if name is None:
        name = next((key for key in part if key in UNTYPED), None)
    kind = kind_of(name)
    return "part" if kind is None or kind.media is None else kind.media
