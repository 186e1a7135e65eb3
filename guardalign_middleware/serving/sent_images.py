"""Reading the pictures that a client sends by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import load_image
from guardalign_middleware.intake.data_url import decode_base64, is_data_url
from guardalign_middleware.intake.load import ImageSource
from guardalign_middleware.serving.service import Service
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.wire import SentImage


def frames_of(
    service: Service, images: Sequence[SentImage], *, single: bool
) -> list[tuple[CanonicalImage, ...]]:
    """The frames of each file, as the guard loads them.

    Args:
        service: the guard, and what a request may hold.
        images: as they were sent.
        single: whether a file of several frames is refused.

    Raises:
        ImageRejected: the policy does not accept one.
        BudgetExceeded: there are more pictures or pixels than a request may hold.
    """
    with service.budget():
        return [
            _frames(service, image, f"images[{place}]", single)
            for place, image in enumerate(images)
        ]


def _frames(
    service: Service, sent: SentImage, place: str, single: bool
) -> tuple[CanonicalImage, ...]:
    guard = service.guard
    try:
        if sent.pixels:
            frames: tuple[CanonicalImage, ...] = (_pixels(service, sent.image, place),)
        else:
            source = _source(sent.image, guard.config.intake, place)
            frames = (guard.load(source),) if single else guard.load_frames(source)
    except ImageRejected as error:
        error.source = sent.source or place
        raise
    if sent.source is None:
        return frames
    # The number of a frame or page stays: "party.gif#2".
    return tuple(
        replace(frame, source=sent.source + frame.source.rpartition(">")[2]) for frame in frames
    )


def _source(text: str, policy: IntakePolicy, place: str) -> ImageSource:
    """A data URL as it is, or the bytes of base64; never a path or another URL."""
    return text if is_data_url(text) else decode_base64(text, policy, place)


def _pixels(service: Service, text: str, place: str) -> CanonicalImage:
    """Pixels that a guard's client has decoded from a file within the caps."""
    policy = service.guard.config.intake.model_copy(
        update={"max_bytes": service.config.max_body_bytes, "formats": ("PNG",)}
    )
    picture = load_image(decode_base64(text, policy, place), policy)
    return service.guard.load(CanonicalImage(picture.pixels, "<pixels>"))
