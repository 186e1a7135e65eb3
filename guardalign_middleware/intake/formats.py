"""Recognising a file's format by its magic bytes, with a remedy for formats not accepted."""

from __future__ import annotations

import re
import struct

from PIL import Image

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.extent import picture_format

_MAGIC_BYTES = 16
_LARGEST_BRANDS = 256
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_TIFFS = (b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
# Of what no model takes: icons, layers of an editor, textures.
_OTHER_PICTURES = (
    b"8BPS",
    b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cJXL ",
    b"\xff\x0a",
    b"\0\0\x01\0",
    b"icns",
    b"qoif",
    b"DDS ",
    b"v/1\x01",
    b"#?RADIANCE",
)
_KNOWN_FORMATS = {"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"}
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_NETPBM = re.compile(rb"P[1-6]\s+(?:#[^\n]*\s+)*[0-9]+\s+[0-9]+\s")
_INSTALL = {
    "AVIF": "Install a Pillow that was built with libavif (the wheels since 11.3 are)",
    "HEIF": "Pillow has no HEIC reader of its own: install pillow-heif and call "
    "pillow_heif.register_heif_opener()",
}


def format_of(data: bytes, policy: IntakePolicy, source: str) -> str:
    """The format by content, never by file name or claimed type.

    Returns:
        A key of `PIL.Image.OPEN` that the policy accepts and whose reader is installed.

    Raises:
        ImageRejected: `unknown_format`, `format_not_allowed` or `format_not_installed`.
    """
    Image.init()
    modern = _iso_format(data)
    if modern is not None:
        return _check_modern(modern, policy, source)
    magic = data[:_MAGIC_BYTES]
    for image_format in policy.formats:
        # AVIF and HEIF are handled above, because their readers accept some of each other's files.
        if image_format not in _INSTALL and _starts_like(image_format, magic):
            return image_format
    accepted = f"Accepted formats: {', '.join(policy.formats)}."
    for known in Image.ID:
        if _starts_like(known, magic):
            raise ImageRejected(
                f"{source} is a {known} file.",
                reason="format_not_allowed",
                source=source,
                remedy=accepted,
            )
    raise ImageRejected(
        f"{source} is not an image in a known format.",
        reason="unknown_format",
        source=source,
        remedy=accepted,
    )


def is_known_picture(data: bytes) -> bool:
    """Whether a file begins as a picture in any format that Pillow knows, accepted or not."""
    Image.init()
    magic = data[:_MAGIC_BYTES]
    return _iso_format(data) is not None or any(_starts_like(known, magic) for known in Image.ID)


def begins_as_picture(data: bytes, policy: IntakePolicy) -> bool:
    """Whether a file begins as a picture that the policy accepts, or that a model could take.

    Unlike `is_known_picture`, this leaves out what Pillow only takes for a picture, such as C
    sources (XBM), and scientific data.
    """
    if picture_format(data) is not None or data.startswith(_TIFFS):
        return True
    if _iso_format(data) is not None:
        return True
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return True
    Image.init()
    others = set(policy.formats) - _KNOWN_FORMATS
    return any(_starts_like(accepted, data[:_MAGIC_BYTES]) for accepted in others)


def begins_as_other_picture(data: bytes) -> bool:
    """Whether a file begins as a picture in a format that no model takes, such as an icon."""
    return data.startswith(_OTHER_PICTURES) or _NETPBM.match(data) is not None


def _iso_format(data: bytes) -> str | None:
    """`AVIF` or `HEIF` if the file type box of an ISO media file has one of their brands."""
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4], "big"), _LARGEST_BRANDS)
    major, others = data[8:12], data[16:end]
    brands = [major, *(others[start : start + 4] for start in range(0, len(others), 4))]
    for brand in brands:
        if brand in _HEIC_BRANDS:
            return "HEIF"
        if brand in _AVIF_BRANDS:
            return "AVIF"
    return "HEIF" if major in {b"mif1", b"msf1"} else None


def _check_modern(image_format: str, policy: IntakePolicy, source: str) -> str:
    """Accept AVIF or HEIC, which are off by default, or say what is missing.

    Raises:
        ImageRejected: `format_not_allowed` or `format_not_installed`.
    """
    allowed = image_format in policy.formats
    installed = _is_readable(image_format)
    if allowed and installed:
        return image_format
    steps = [] if installed else [_INSTALL[image_format]]
    if not allowed:
        steps.append(f'{"add" if steps else "Add"} "{image_format}" to intake.formats')
    raise ImageRejected(
        f"{source} is {'an AVIF' if image_format == 'AVIF' else 'a HEIC'} file"
        f"{'' if installed else ', for which no reader is installed'}.",
        reason="format_not_allowed" if installed else "format_not_installed",
        source=source,
        remedy=f"{', and '.join(steps)}; or convert the image to JPEG or PNG.",
    )


def _is_readable(image_format: str) -> bool:
    if image_format == "AVIF":
        # The reader is registered even without its codec, so it has to be tried.
        return _starts_like("AVIF", b"\0\0\0\x1cftypavif\0\0\0\0")
    return image_format in Image.OPEN


def _starts_like(image_format: str, magic: bytes) -> bool:
    _, accept = Image.OPEN.get(image_format, (None, None))
    if accept is None:
        return False
    try:
        # A reader without its codec returns a sentence instead of True.
        return accept(magic) is True
    except (IndexError, struct.error):
        return False
