"""Bytes to pixels: an allowlist of formats, caps from the header, one frame, a full decode."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.budget import check_byte_count, check_size
from guardalign_middleware.intake.color import to_srgb_pixels

# What Pillow's readers raise on damaged files, found by fuzzing. `Warning` is here for programs
# that turn warnings into errors: a reader that warns has met damage, too.
_DECODE_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    AssertionError,
    RuntimeError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    Warning,
)
_MAGIC_BYTES = 16


@dataclass(frozen=True, eq=False)
class Decoded:
    """Canonical pixels uint8 `[H, W, 3]` and the format that they were read from."""

    pixels: NDArray[np.uint8]
    image_format: str


def decode_bytes(data: bytes, policy: IntakePolicy, source: str) -> Decoded:
    """Decode one encoded image completely.

    Raises:
        ImageRejected: `empty`, `too_many_bytes`, `unknown_format`, `format_not_allowed`,
            `too_many_pixels`, `extreme_aspect`, `multiple_frames`, `corrupt` or `unsupported_mode`.
    """
    check_byte_count(len(data), policy, source)
    image_format = _sniff(data, policy, source)
    # The reader is opened directly, since Image.open warns or raises by a process-wide pixel limit
    # before the policy's own cap could speak.
    reader, _ = Image.OPEN[image_format]
    try:
        picture = reader(BytesIO(data), "")
    except Image.DecompressionBombError as error:
        raise _too_large(source) from error
    except _DECODE_FAULTS as error:
        raise _corrupt(source) from error
    with picture:
        return Decoded(canonical_pixels(picture, policy, source), image_format)


def canonical_pixels(picture: Image.Image, policy: IntakePolicy, source: str) -> NDArray[np.uint8]:
    """Check the caps and the frames of an opened picture, load it fully, make it canonical.

    Raises:
        ImageRejected: `too_many_pixels`, `extreme_aspect`, `multiple_frames`, `corrupt` or
            `unsupported_mode`.
    """
    check_size(picture.width, picture.height, policy, source)
    try:
        several = bool(getattr(picture, "is_animated", False))
        if not several:
            picture.load()
    except Image.DecompressionBombError as error:
        raise _too_large(source) from error
    except _DECODE_FAULTS as error:
        raise _corrupt(source) from error
    if several:
        raise ImageRejected(
            f"{source} holds more than one frame.",
            reason="multiple_frames",
            source=source,
            remedy="Pass the frames as single images, so that each one is checked.",
        )
    # Some readers learn the real size only while decoding.
    check_size(picture.width, picture.height, policy, source)
    try:
        return to_srgb_pixels(picture, policy, source)
    except _DECODE_FAULTS as error:
        raise _corrupt(source) from error


def _sniff(data: bytes, policy: IntakePolicy, source: str) -> str:
    """The format by the magic bytes; never by a file name or a claimed type."""
    Image.init()
    magic = data[:_MAGIC_BYTES]
    for image_format in policy.formats:
        if _starts_like(image_format, magic):
            return image_format
    accepted = f"Accepted formats: {', '.join(policy.formats)}."
    for image_format in Image.ID:
        if _starts_like(image_format, magic):
            raise ImageRejected(
                f"{source} is a {image_format} file.",
                reason="format_not_allowed",
                source=source,
                remedy=accepted,
            )
    raise ImageRejected(
        f"{source} is no image in a known format.",
        reason="unknown_format",
        source=source,
        remedy=accepted,
    )


def _starts_like(image_format: str, magic: bytes) -> bool:
    _, accept = Image.OPEN.get(image_format, (None, None))
    if accept is None:
        return False
    try:
        # A reader without its codec answers with a sentence instead of True.
        return accept(magic) is True
    except (IndexError, struct.error):
        return False


def _corrupt(source: str) -> ImageRejected:
    return ImageRejected(
        f"{source} is damaged or incomplete.",
        reason="corrupt",
        source=source,
        remedy="Check that the upload or the download was completed, or export the image again.",
    )


def _too_large(source: str) -> ImageRejected:
    return ImageRejected(
        f"{source} declares more pixels than can be decoded safely.",
        reason="too_many_pixels",
        source=source,
        remedy="Scale the image down.",
    )
