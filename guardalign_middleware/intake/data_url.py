"""Strict parsing of base64 and `data:` URLs: one comma, an image type, no junk characters."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.budget import check_byte_count

_LABEL = "<data URL>"

_HEADER = re.compile(
    r"data:(image/[a-z0-9][a-z0-9.+-]*|application/(?:x-)?pdf);base64", re.IGNORECASE
)
_FORM = "Write it as data:image/png;base64,… with the standard base64 alphabet and no spaces."
_NO_LINE_ENDS = str.maketrans("", "", "\r\n")

_FORMAT_BY_MIME = {
    "image/jpeg": "JPEG",
    "image/jpg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
    "image/x-ms-bmp": "BMP",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
    "image/heif": "HEIF",
    "application/pdf": "PDF",
    "application/x-pdf": "PDF",
}


@dataclass(frozen=True)
class EncodedImage:
    """The bytes of an image file, their origin, and their claimed type."""

    data: bytes
    label: str
    mime_type: str | None = None


def is_data_url(text: str) -> bool:
    """Whether a string starts as a `data:` URL does."""
    return text[:5].lower() == "data:"


def is_image_type(mime_type: object) -> bool:
    """Whether a value is the MIME type of an image."""
    return isinstance(mime_type, str) and mime_type.strip().lower().startswith("image/")


def parse_data_url(url: str, policy: IntakePolicy) -> EncodedImage:
    """Parse a `data:image/…;base64,…` URL, or one of a PDF file.

    Raises:
        ImageRejected: `bad_data_url`, `empty` or `too_many_bytes`.
    """
    header, comma, body = url.partition(",")
    match = _HEADER.fullmatch(header)
    if match is None:
        raise _bad("A data URL should start with data:image/<type>;base64", _LABEL)
    if not comma or "," in body:
        raise _bad("A data URL should have exactly one comma", _LABEL)
    mime_type = match.group(1).lower()
    return EncodedImage(decode_base64(body, policy, _LABEL), _LABEL, mime_type)


def decode_base64(text: str, policy: IntakePolicy, source: str) -> bytes:
    """Decode standard base64 strictly, checking the byte cap first.

    Line ends are accepted, because mail and many encoders insert them; other whitespace is not.

    Raises:
        ImageRejected: `bad_data_url`, `empty` or `too_many_bytes`.
    """
    # Sought before they are counted, which takes many times longer: most base64 has none.
    breaks = sum(text.count(end) for end in "\n\r" if end in text)
    check_byte_count((len(text) - breaks - text[-4:].count("=")) * 3 // 4, policy, source)
    if breaks:
        text = text.translate(_NO_LINE_ENDS)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad(f"{source} holds invalid base64 ({error})", source) from error


def check_mime(mime_type: str, image_format: str, source: str) -> None:
    """Reject bytes whose format differs from their claimed type.

    Raises:
        ImageRejected: `bad_data_url`.
    """
    claimed = _FORMAT_BY_MIME.get(mime_type.strip().lower())
    if claimed is None:
        known = ", ".join(_FORMAT_BY_MIME)
        raise ImageRejected(
            f"{source} claims an unknown image type.",
            reason="bad_data_url",
            source=source,
            remedy=f"Use one of: {known}.",
        )
    if claimed != image_format:
        raise ImageRejected(
            f"{source} claims to be {claimed} but holds {image_format}.",
            reason="bad_data_url",
            source=source,
            remedy="State the actual type of the bytes.",
        )


def _bad(problem: str, source: str) -> ImageRejected:
    return ImageRejected(f"{problem}.", reason="bad_data_url", source=source, remedy=_FORM)
