"""The one door: every kind of input that a program may hold, and what each is read as."""

from __future__ import annotations

import errno
import os
import re
import stat

from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.budget import check_byte_count, check_size
from guardalign_middleware.intake.data_url import (
    DATA_URL_LABEL,
    check_mime,
    decode_base64,
    parse_data_url,
)
from guardalign_middleware.intake.decode import canonical_pixels, decode_bytes
from guardalign_middleware.types import CanonicalImage

ImageSource = bytes | bytearray | memoryview | str | os.PathLike[str] | Image.Image | CanonicalImage

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DEFAULT_POLICY = IntakePolicy()


def load_image(source: ImageSource, policy: IntakePolicy = _DEFAULT_POLICY) -> CanonicalImage:
    """Read an image from bytes, a file, a PIL picture or a `data:` URL; decode it once.

    A string is a `data:` URL when it starts so, and otherwise the path of a file. Nothing is ever
    fetched from a network. Fields such as `policy.allow_paths` do not apply here: they are about
    strings inside messages, whereas this call is made by the program itself.

    Raises:
        ImageRejected: with the reason code that applies.
    """
    if isinstance(source, CanonicalImage):
        check_size(source.width, source.height, policy, source.source)
        return source
    if isinstance(source, Image.Image):
        label = "<PIL image>"
        return CanonicalImage(canonical_pixels(source, policy, label), label)
    if isinstance(source, bytes | bytearray | memoryview):
        label = "<bytes>"
        check_byte_count(memoryview(source).nbytes, policy, label)
        return CanonicalImage(decode_bytes(bytes(source), policy, label).pixels, label)
    if isinstance(source, str):
        return _load_string(source, policy)
    if isinstance(source, os.PathLike):
        path = os.fspath(source)
        if isinstance(path, str):
            return _load_file(path, policy)
    raise ImageRejected(
        f"An image cannot be read from an object of type {type(source).__name__}.",
        reason="unsupported_type",
        source=f"<{type(source).__name__}>",
        remedy="Pass bytes, the path of a file, a PIL image or a data URL.",
    )


def load_base64(
    text: str, mime_type: str, policy: IntakePolicy = _DEFAULT_POLICY
) -> CanonicalImage:
    """Read an image from bare base64 whose type is stated beside it.

    Raises:
        ImageRejected: `bad_data_url` when the base64 or the type is wrong; otherwise as for bytes.
    """
    label = "<base64>"
    decoded = decode_bytes(decode_base64(text, policy, label), policy, label)
    check_mime(mime_type, decoded.image_format, label)
    return CanonicalImage(decoded.pixels, label)


def url_not_allowed(url: str) -> ImageRejected:
    """The refusal of a URL; its label names the scheme alone, as URLs can carry secrets."""
    match = _SCHEME.match(url)
    scheme = match.group(1).lower() if match else "unknown"
    return ImageRejected(
        f"Images are not fetched from {scheme} URLs.",
        reason="url_not_allowed",
        source=f"<{scheme} URL>",
        remedy="Download the image yourself and pass its bytes, or pass the path of a file.",
    )


def is_data_url(text: str) -> bool:
    """Whether a string is meant as a `data:` URL."""
    return text[:5].lower() == "data:"


def is_remote_url(text: str) -> bool:
    """Whether a string starts with a scheme and `//`, as `https://` and `file://` do."""
    return _SCHEME.match(text) is not None


def _load_string(text: str, policy: IntakePolicy) -> CanonicalImage:
    if is_data_url(text):
        encoded = parse_data_url(text, policy)
        decoded = decode_bytes(encoded.data, policy, DATA_URL_LABEL)
        check_mime(encoded.mime_type, decoded.image_format, DATA_URL_LABEL)
        return CanonicalImage(decoded.pixels, DATA_URL_LABEL)
    if is_remote_url(text):
        raise url_not_allowed(text)
    return _load_file(text, policy)


def _load_file(path: str, policy: IntakePolicy) -> CanonicalImage:
    data = _read_file(path, policy)
    return CanonicalImage(decode_bytes(data, policy, path).pixels, path)


def _read_file(path: str, policy: IntakePolicy) -> bytes:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageRejected(
                f"{path} is a directory.",
                reason="is_directory",
                source=path,
                remedy="Pass the path of an image file in it.",
            )
        if not stat.S_ISREG(status.st_mode):
            # A pipe or a device may never end, whatever its size says.
            raise ImageRejected(
                f"{path} is no regular file.",
                reason="unreadable",
                source=path,
                remedy="Read it yourself and pass the bytes.",
            )
        check_byte_count(status.st_size, policy, path)
        with open(path, "rb") as file:
            # One byte more than allowed, so that a file that has grown is still refused.
            return file.read(policy.max_bytes + 1)
    except FileNotFoundError as error:
        raise ImageRejected(
            f"There is no file {path}.",
            reason="not_found",
            source=path,
            remedy="Check the path.",
        ) from error
    except OSError as error:
        # A name that is too long is mostly encoded image data: content must not reach a log.
        shown = "<path>" if error.errno == errno.ENAMETOOLONG else path
        raise ImageRejected(
            f"{shown} cannot be read ({error.strerror}).",
            reason="unreadable",
            source=shown,
            remedy="Check the path and its permissions.",
        ) from None
    except ValueError as error:
        raise ImageRejected(
            "The path holds a character that no file name can have.",
            reason="unreadable",
            source="<path>",
            remedy="Check the path.",
        ) from error
