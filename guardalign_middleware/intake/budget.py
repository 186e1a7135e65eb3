"""The caps of the intake policy and of a request, checked before any pixel is decoded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import BudgetExceeded, ImageRejected


class _Budget:
    """What is left for the pictures of one request, which threads may decode together."""

    def __init__(self, images: int, pixels: int) -> None:
        self._limits = (images, pixels)
        self._spent = (0, 0)
        self._lock = threading.Lock()

    def spend(self, pixels: int) -> None:
        with self._lock:
            self._spent = (self._spent[0] + 1, self._spent[1] + pixels)
            spent = self._spent
        names = ("pictures", "pixels")
        for name, have, most in zip(names, spent, self._limits, strict=True):
            if have > most:
                raise BudgetExceeded(
                    f"The request holds {have:,} {name} or more; at most {most:,} are accepted.",
                    remedy="Send fewer or smaller pictures in one request.",
                )


_BUDGET: ContextVar[_Budget | None] = ContextVar("guardalign_request_budget", default=None)


@contextmanager
def request_budget(images: int, pixels: int) -> Iterator[None]:
    """Bound what is decoded inside, also in threads that get a copy of the context.

    The caps of the policy are for one picture. A file of several frames or pages counts as many.

    Args:
        images: most pictures.
        pixels: most pixels of all pictures together.
    """
    token = _BUDGET.set(_Budget(images, pixels))
    try:
        yield
    finally:
        _BUDGET.reset(token)


def spend(width: int, height: int) -> None:
    """Count a picture that is about to be decoded towards the request's budget, if it has one.

    Raises:
        BudgetExceeded: it is too much for one request.
    """
    budget = _BUDGET.get()
    if budget is not None:
        budget.spend(width * height)


@contextmanager
def decoding_again() -> Iterator[None]:
    """A picture that is decoded again inside is no further picture of the request."""
    token = _BUDGET.set(None)
    try:
        yield
    finally:
        _BUDGET.reset(token)


def check_byte_count(count: int, policy: IntakePolicy, source: str) -> None:
    """Reject empty inputs and inputs of more than `policy.max_bytes` bytes.

    Raises:
        ImageRejected: `empty` or `too_many_bytes`.
    """
    if count == 0:
        raise ImageRejected(
            f"{source} is empty.",
            reason="empty",
            source=source,
            remedy="Check that the upload or download is complete.",
        )
    if count > policy.max_bytes:
        raise ImageRejected(
            f"{source} has {count:,} bytes; at most {policy.max_bytes:,} are accepted.",
            reason="too_many_bytes",
            source=source,
            remedy="Compress the image, or raise intake.max_bytes.",
        )


def check_size(width: int, height: int, policy: IntakePolicy, source: str) -> None:
    """Reject pictures that are too large or too thin, by the size in their header.

    Resizing the short side of a 157-byte PNG of 1×20000 pixels takes gigabytes, so the aspect
    `max(width, height) / min(width, height)` is capped in addition to the number of pixels.

    Raises:
        ImageRejected: `corrupt` (no area), `too_many_pixels` or `extreme_aspect`.
    """
    if width <= 0 or height <= 0:
        raise ImageRejected(
            f"{source} declares a size of {width}×{height} pixels.",
            reason="corrupt",
            source=source,
            remedy="Export the image again.",
        )
    if width * height > policy.max_pixels:
        raise ImageRejected(
            f"{source} has {width}×{height} = {width * height:,} pixels; "
            f"at most {policy.max_pixels:,} are accepted.",
            reason="too_many_pixels",
            source=source,
            remedy="Scale the image down, or raise intake.max_pixels.",
        )
    aspect = max(width, height) / min(width, height)
    if aspect > policy.max_aspect:
        raise ImageRejected(
            f"{source} is {width}×{height} pixels, an aspect of {aspect:g}:1; "
            f"at most {policy.max_aspect:g}:1 is accepted.",
            reason="extreme_aspect",
            source=source,
            remedy="Crop the image, or raise intake.max_aspect.",
        )


def check_total_pixels(total: int, policy: IntakePolicy, source: str) -> None:
    """Reject files whose frames together have too many pixels.

    Raises:
        ImageRejected: `too_many_pixels`.
    """
    if total > policy.max_total_pixels:
        raise ImageRejected(
            f"The frames of {source} have more than {policy.max_total_pixels:,} pixels together.",
            reason="too_many_pixels",
            source=source,
            remedy="Pass fewer or smaller frames, or raise intake.max_total_pixels.",
        )
