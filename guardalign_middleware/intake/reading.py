"""What becomes of the pictures of a conversation while it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.part import is_image_part, load_part
from guardalign_middleware.intake.pdf_blocks import PdfFile, load_pdf_file, pdf_file, pdf_notice
from guardalign_middleware.intake.refused_parts import RefusedPart
from guardalign_middleware.intake.request import Frames, Room, Sizes
from guardalign_middleware.replies import Dropped
from guardalign_middleware.types import ImagePart, TextPart

Part = TextPart | ImagePart | RefusedPart


@dataclass(frozen=True)
class Reading:
    """What the reading of one conversation has in common.

    Attributes:
        policy: caps and formats.
        refuses: whether refusals stay open; otherwise they are raised.
        pictures: measures or loads each picture.
        dropped: what held neither text nor a picture.
    """

    policy: IntakePolicy
    refuses: bool
    pictures: Sizes | Room
    dropped: list[Dropped] = field(default_factory=list)


def image_part(part: ImagePart, place: str, reading: Reading) -> Sequence[Part]:
    """The pictures of a part that is an image already, or its refusal."""
    try:
        return pictures_in(part, place, reading) or ()
    except (ImageRejected, MessageError) as error:
        return (open_refusal(RefusedPart.of(error, part, place), reading),)


def open_refusal(part: RefusedPart, reading: Reading) -> RefusedPart:
    """The part, if refusals stay open.

    Raises:
        ImageRejected, MessageError: its error, if they do not.
    """
    if not reading.refuses:
        raise part.error
    return part


def pictures_in(
    block: object, place: str, reading: Reading
) -> tuple[TextPart | ImagePart, ...] | None:
    """What a picture or a PDF file becomes; None for other blocks."""
    file = pdf_file(block) if isinstance(block, Mapping) else None
    if file is None and not is_image_part(block):
        return None

    def load(policy: IntakePolicy) -> Frames:
        if file is not None:
            return load_pdf_file(file, place, policy)
        return load_part(block, place, policy) or ()

    policy = reading.policy
    try:
        if file is not None and policy.pdf != "pages":
            frames = load(policy)
        else:
            frames = reading.pictures.read(block, place, load)
    except ImageRejected as error:
        if policy.pdf == "notice" and error.reason == "pdf_not_allowed":
            return (TextPart(pdf_notice(file or PdfFile())),)
        raise
    return tuple(map(ImagePart, frames))
