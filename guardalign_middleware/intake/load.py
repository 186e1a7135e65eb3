"""Reading every kind of image input that a program can pass."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence

from PIL import Image

from guardalign_middleware.canonical import Pixels, SourceEncoding, packed
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.faults import memory_faults
from guardalign_middleware.intake.budget import (
    check_byte_count,
    check_size,
    decoding_again,
    spend,
)
from guardalign_middleware.intake.data_url import (
    EncodedImage,
    check_mime,
    decode_base64,
    is_data_url,
    parse_data_url,
)
from guardalign_middleware.intake.decode import canonical_frames, canonical_pixels, decode_bytes
from guardalign_middleware.intake.formats import is_known_picture
from guardalign_middleware.intake.pdf import check_pdf, is_pdf, load_pdf
from guardalign_middleware.intake.shared_frames import SHARED
from guardalign_middleware.types import CanonicalImage

ImageSource = bytes | bytearray | memoryview | str | os.PathLike[str] | Image.Image | CanonicalImage

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PIL_LABEL = "<PIL image>"
_BYTES_LABEL = "<bytes>"
_DEFAULT_POLICY = IntakePolicy()


def load_image(source: ImageSource, policy: IntakePolicy = _DEFAULT_POLICY) -> CanonicalImage:
    """Read an image from bytes, a file, a PIL picture, a `data:` URL or an allowed URL.

    A string that does not start as a URL is the path of a file. A URL is fetched only if
    `policy.allow_url_hosts` names its host. `policy.allow_paths` does not apply: it restricts
    strings inside messages, whereas the program itself makes this call. A file with several frames
    is rejected even with `policy.frames="scan_all"`, and so is a PDF file of several pages; see
    `load_frames`. A file that somebody has loaded already is not decoded again.

    Raises:
        ImageRejected: with the reason code that applies.
        OutOfMemory: stage `intake`; it says nothing about the file.
    """
    if isinstance(source, CanonicalImage):
        check_size(source.width, source.height, policy, source.source)
        return source
    if isinstance(source, Image.Image):
        with memory_faults("intake"):
            return _numbered([canonical_pixels(source, policy, _PIL_LABEL)], _PIL_LABEL)[0]
    with memory_faults("intake"):
        return _decode(read_source(source, policy), policy, single=True)[0]


def load_frames(
    source: ImageSource, policy: IntakePolicy = _DEFAULT_POLICY
) -> tuple[CanonicalImage, ...]:
    """Read every frame of an input that `load_image` accepts, in order and as a viewer shows them.

    Each of several frames is labelled with its number, from 1: "party.gif#2". With
    `policy.frames="reject"`, files with several frames are rejected. With "scan_all", all frames
    are returned, or none: at most `policy.max_frames`, each within the caps of one image, and
    `policy.max_total_pixels` together. With `policy.pdf="pages"`, the pages of a PDF file are
    returned in the same way, labelled as in "report.pdf#page2".

    Raises:
        ImageRejected: with the reason code that applies.
    """
    if isinstance(source, CanonicalImage):
        return (load_image(source, policy),)
    if isinstance(source, Image.Image):
        with memory_faults("intake"):
            return _numbered(canonical_frames(source, policy, _PIL_LABEL), _PIL_LABEL)
    with memory_faults("intake"):
        return _decode(read_source(source, policy), policy, single=False)


def load_base64(
    text: str, mime_type: str, policy: IntakePolicy = _DEFAULT_POLICY
) -> tuple[CanonicalImage, ...]:
    """Read every frame of base64 with a separately stated type, as `load_frames` does.

    Raises:
        ImageRejected: `bad_data_url` when the base64 or the type is wrong; otherwise as for bytes.
    """
    label = "<base64>"
    with memory_faults("intake"):
        encoded = EncodedImage(decode_base64(text, policy, label), label, mime_type)
        return _decode(encoded, policy, single=False)


def url_not_allowed(url: str) -> ImageRejected:
    """The error for a URL; its label gives only the scheme, because URLs can carry secrets."""
    match = _SCHEME.match(url)
    scheme = match.group(1).lower() if match else "unknown"
    return ImageRejected(
        f"Images are not fetched from {scheme} URLs.",
        reason="url_not_allowed",
        source=f"<{scheme} URL>",
        remedy="Download the image and pass its bytes or path, or name its host in "
        "intake.allow_url_hosts.",
    )


def is_remote_url(text: str) -> bool:
    """Whether a string starts with a scheme and `//`, as in `https://` and `file://`."""
    return _SCHEME.match(text) is not None


def read_source(source: object, policy: IntakePolicy) -> EncodedImage:
    """Read the bytes of a file from bytes, a path, a `data:` URL or an allowed URL.

    Raises:
        ImageRejected: with the reason code that applies.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        check_byte_count(memoryview(source).nbytes, policy, _BYTES_LABEL)
        return EncodedImage(bytes(source), _BYTES_LABEL)
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
        if isinstance(source, str):
            return EncodedImage(_read_file(source, policy), source)
    elif isinstance(source, str):
        return _read_string(source, policy)
    raise ImageRejected(
        f"An image cannot be read from an object of type {type(source).__name__}.",
        reason="unsupported_type",
        source=f"<{type(source).__name__}>",
        remedy="Pass bytes, the path of a file, a PIL image or a data URL.",
    )


def _read_string(text: str, policy: IntakePolicy) -> EncodedImage:
    if is_data_url(text):
        return parse_data_url(text, policy)
    if not is_remote_url(text):
        return EncodedImage(_read_file(text, policy), text)
    if not policy.allow_url_hosts:
        raise url_not_allowed(text)
    # Imported on use: without the opt-in, no network code is loaded.
    from guardalign_middleware.intake.fetch import fetch_bytes, url_label

    return EncodedImage(fetch_bytes(text, policy), url_label(text))


def _decode(
    encoded: EncodedImage, policy: IntakePolicy, *, single: bool
) -> tuple[CanonicalImage, ...]:
    data, label = encoded.data, encoded.label
    if is_pdf(data) and not is_known_picture(data):
        check_pdf(policy, label)
        if encoded.mime_type is not None:
            check_mime(encoded.mime_type, "PDF", label)
        return load_pdf(data, policy, label, single=single)

    fresh = False

    def decode() -> tuple[CanonicalImage, ...]:
        nonlocal fresh
        fresh = True
        decoded = decode_bytes(data, policy, label, single=single)

        def again() -> Pixels:
            with decoding_again():
                return decode_bytes(data, policy, label, single=single).frames[0]

        if len(decoded.frames) > 1:
            return _numbered(decoded.frames, label, decoded.encoding)
        return (CanonicalImage(decoded.frames[0], label, decoded.encoding, data, again=again),)

    frames = SHARED.get(data, policy, label, decode, single=single)
    if not fresh:
        # Equal pictures count each time.
        for frame in frames:
            spend(frame.width, frame.height)
    encoding = frames[0].encoding
    if encoded.mime_type is not None and encoding is not None:
        check_mime(encoded.mime_type, encoding.image_format, label)
    return frames


def _numbered(
    frames: Sequence[Pixels], label: str, encoding: SourceEncoding | None = None
) -> tuple[CanonicalImage, ...]:
    """Several frames, each labelled with its number; a single one with the label alone."""
    if len(frames) == 1:
        return (CanonicalImage(frames[0], label, encoding, again=packed),)
    return tuple(
        CanonicalImage(pixels, f"{label}#{number}", encoding, again=packed)
        for number, pixels in enumerate(frames, start=1)
    )


def _read_file(path: str, policy: IntakePolicy) -> bytes:
    if not path:
        raise ImageRejected(
            "The path of the image is empty.",
            reason="not_found",
            source="<path>",
            remedy="Pass the path of an image file.",
        )
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageRejected(
                f"{path} is a directory.",
                reason="is_directory",
                source=path,
                remedy="Pass the path of an image file.",
            )
        if not stat.S_ISREG(status.st_mode):
            # A pipe or device may never end, regardless of its size.
            raise ImageRejected(
                f"{path} is not a regular file.",
                reason="unreadable",
                source=path,
                remedy="Save its content to a file, or read it and pass the bytes.",
            )
        check_byte_count(status.st_size, policy, path)
        with open(path, "rb") as file:
            # One byte over the cap, so that a file that has grown meanwhile is still rejected.
            return file.read(policy.max_bytes + 1)
    except FileNotFoundError as error:
        raise ImageRejected(
            f"There is no file {path}.",
            reason="not_found",
            source=path,
            remedy="Check the path.",
        ) from error
    except OSError as error:
        # A name that is too long is usually encoded image data, which must not reach a log.
        shown = "<path>" if error.errno == errno.ENAMETOOLONG else path
        raise ImageRejected(
            f"{shown} cannot be read ({error.strerror}).",
            reason="unreadable",
            source=shown,
            remedy="Check the path and its permissions.",
        ) from None
    except ValueError as error:
        raise ImageRejected(
            "The path holds a character that is invalid in file names.",
            reason="unreadable",
            source="<path>",
            remedy="Check the path.",
        ) from error
