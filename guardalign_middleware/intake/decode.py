"""Decoding bytes to pixels: header caps first, then a full decode of every frame or none."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from guardalign_middleware.canonical import SourceEncoding
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.faults import is_out_of_memory, out_of_memory
from guardalign_middleware.intake.budget import (
    check_byte_count,
    check_size,
    check_total_pixels,
    spend,
)
from guardalign_middleware.intake.color import to_srgb_pixels
from guardalign_middleware.intake.formats import format_of
from guardalign_middleware.intake.source_encoding import source_encoding
from guardalign_middleware.pixel_memory import MEMORY

# Exceptions of Pillow's readers on damaged files, found by fuzzing. `Warning` is for programs that
# turn warnings into errors: a reader's warning means damage, too.
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
    struct.error,
    zlib.error,
    Warning,
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True, eq=False)
class Decoded:
    """Canonical pixels of each frame, uint8 `[H, W, 3]`, and how the file was encoded."""

    frames: tuple[NDArray[np.uint8], ...]
    encoding: SourceEncoding


def decode_bytes(data: bytes, policy: IntakePolicy, source: str, *, single: bool = True) -> Decoded:
    """Decode one encoded image completely.

    Args:
        data: the bytes of the file.
        policy: the caps, and how several frames are handled.
        source: label for messages.
        single: reject a second frame regardless of the policy.

    Raises:
        ImageRejected: `empty`, `too_many_bytes`, `unknown_format`, `format_not_allowed`,
            `format_not_installed`, `too_many_pixels`, `extreme_aspect`, `multiple_frames`,
            `too_many_frames`, `corrupt` or `unsupported_mode`.
        OutOfMemory: stage `intake`.
    """
    check_byte_count(len(data), policy, source)
    image_format = format_of(data, policy, source)
    # The reader is opened directly: Image.open would apply a process-wide pixel limit before the
    # policy's own cap.
    reader, _ = Image.OPEN[image_format]
    with _faults_named(source):
        picture = reader(BytesIO(data), "")
    with picture:
        if single:
            frames: tuple[NDArray[np.uint8], ...] = (canonical_pixels(picture, policy, source),)
        else:
            frames = canonical_frames(picture, policy, source)
        height, width = frames[0].shape[:2]
        with _faults_named(source):
            return Decoded(frames, source_encoding(picture, data, image_format, (width, height)))


def header_pixels(data: bytes, policy: IntakePolicy) -> int:
    """The pixels that a file's header declares for its first frame; 0 if it cannot be read."""
    try:
        reader, _ = Image.OPEN[format_of(data, policy, "")]
        with _faults_named(""), reader(BytesIO(data), "") as picture:
            return max(0, picture.width) * max(0, picture.height)
    except ImageRejected:
        return 0


def canonical_pixels(picture: Image.Image, policy: IntakePolicy, source: str) -> NDArray[np.uint8]:
    """Check the caps of an opened picture with one frame, load it fully and make it canonical.

    Raises:
        ImageRejected: `too_many_pixels`, `extreme_aspect`, `multiple_frames`, `corrupt` or
            `unsupported_mode`.
    """
    check_size(picture.width, picture.height, policy, source)
    if _is_animated(picture, source):
        raise ImageRejected(
            f"{source} holds more than one frame.",
            reason="multiple_frames",
            source=source,
            remedy="Set intake.frames to scan_all (in Python, use load_frames), or save the frame "
            "that matters as a separate image.",
        )
    return _loaded(picture, policy, source)


def canonical_frames(
    picture: Image.Image, policy: IntakePolicy, source: str
) -> tuple[NDArray[np.uint8], ...]:
    """All frames of an opened picture, as a viewer would show them, or none.

    The picture is left at its current frame.

    Raises:
        ImageRejected: as for `canonical_pixels`, for any frame; `multiple_frames` only with the
            policy `reject`; `too_many_frames`, and `too_many_pixels` for all frames together.
    """
    check_size(picture.width, picture.height, policy, source)
    if policy.frames == "reject" or not _is_animated(picture, source):
        return (canonical_pixels(picture, policy, source),)
    start = picture.tell()
    try:
        return tuple(_every_frame(picture, policy, source))
    finally:
        with _faults_named(source):
            picture.seek(start)


def _every_frame(
    picture: Image.Image, policy: IntakePolicy, source: str
) -> Iterator[NDArray[np.uint8]]:
    total = 0
    index = 0
    # Frames are counted while walking: asking for their number could read millions of them.
    while _seek(picture, index, source):
        if index == policy.max_frames:
            raise ImageRejected(
                f"{source} holds more than {policy.max_frames} frames.",
                reason="too_many_frames",
                source=source,
                remedy="Pass fewer frames, or raise intake.max_frames.",
            )
        check_size(picture.width, picture.height, policy, source)
        total += picture.width * picture.height
        check_total_pixels(total, policy, source)
        yield _loaded(picture, policy, source)
        index += 1
    with _faults_named(source):
        promised = getattr(picture, "n_frames", index)
    if promised != index:
        raise _corrupt(source)


def _seek(picture: Image.Image, index: int, source: str) -> bool:
    """Go to a frame; False after the last one."""
    with _faults_named(source):
        try:
            picture.seek(index)
        except EOFError:
            return False
        return True


def _is_animated(picture: Image.Image, source: str) -> bool:
    with _faults_named(source):
        return bool(getattr(picture, "is_animated", False))


def _loaded(picture: Image.Image, policy: IntakePolicy, source: str) -> NDArray[np.uint8]:
    spend(picture.width, picture.height)
    MEMORY.make_room(picture.width * picture.height)
    with _faults_named(source):
        picture.load()
    # Some readers only learn the real size while decoding.
    check_size(picture.width, picture.height, policy, source)
    with _faults_named(source):
        return to_srgb_pixels(picture, policy, source)


@contextmanager
def _faults_named(source: str) -> Iterator[None]:
    """Turn the exceptions of readers on damaged bytes into one typed error.

    A lack of memory says nothing about the file.

    Raises:
        ImageRejected: `too_many_pixels` or `corrupt`.
        OutOfMemory: stage `intake`.
    """
    try:
        yield
    except _BOMBS as error:
        raise ImageRejected(
            f"{source} declares more pixels than can be decoded safely.",
            reason="too_many_pixels",
            source=source,
            remedy="Scale the image down.",
        ) from error
    except MemoryError as error:
        raise out_of_memory(error, "intake") from error
    except _DECODE_FAULTS as error:
        if is_out_of_memory(error):  # as Pillow's C code says it
            raise out_of_memory(error, "intake") from error
        raise _corrupt(source) from error


def _corrupt(source: str) -> ImageRejected:
    return ImageRejected(
        f"{source} is damaged or incomplete.",
        reason="corrupt",
        source=source,
        remedy="Check that the upload or download is complete, or export the image again.",
    )
