"""An image of a value on its way through the cleaner: found, decoded, scanned, or refused."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from guardalign_middleware.cleaning.outcomes import Refusal
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import MessageError
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.dialects import Part
from guardalign_middleware.intake.found_images import FoundImage
from guardalign_middleware.intake.pdf_blocks import PdfFile
from guardalign_middleware.intake.pdf_pages import found_pdf
from guardalign_middleware.types import CanonicalImage, Verdict

Scans = tuple["Scan", ...]
"""Of pictures that were scanned together."""


@dataclass(frozen=True, eq=False)
class Scan:
    """The verdict on a picture, and the file that may be shown; None if nothing may be."""

    verdict: Verdict
    file: bytes | None


@dataclass(frozen=True)
class Decoded:
    """Digests and source of an encoded image and its pixels; saves decoding it again."""

    key: str
    source: str

    @classmethod
    def of(cls, image: CanonicalImage) -> Decoded:
        """For a decoded image. Equal pictures in different files go on as different files."""
        return cls(f"{image.sha256}:{image.file_sha256}", image.source)


@dataclass(frozen=True, eq=False)
class Picture:
    """One image of a value: its pixels if they are still to be scanned, or the cached scan.

    Without `decoded`, it cannot be read: it is `refused`, or no picture at all, and stays. A PDF
    file has `pages`, or is `noted` in words because the policy says so.
    """

    found: FoundImage
    decoded: Decoded | None = None
    image: CanonicalImage | None = None
    scan: Scan | None = None
    refused: Refusal | None = None
    pages: tuple[Picture, ...] = ()
    noted: PdfFile | None = None


def is_harmless(found: FoundImage, error: Refusal) -> bool:
    """Whether what cannot be read is no picture, and stays; a picture is not forwarded unread."""
    if found.declared or isinstance(error, MessageError):
        return False
    no_picture = not found.complete or error.reason in {"corrupt", "unknown_format"}
    return found.words or (no_picture and not found.shown)


def has_pages(found: FoundImage, policy: IntakePolicy) -> bool:
    """Whether it is a PDF file whose pages are drawn."""
    return policy.pdf == "pages" and found_pdf(found) is not None


def fingerprint(part: Part) -> str | None:
    """Digest of an encoded image and its form; None for a decoded picture or a file."""
    if "base64" in part:
        payload: object = part["base64"]
        how = f"base64:{part.get('mime_type')}:"
    elif "image_url" in part:
        payload, how = part["image_url"]["url"], "url:"
        if not is_data_url(str(payload)):
            # The file may have changed since.
            return None
    else:
        payload, how = part.get("image"), "bytes:"
    if isinstance(payload, str) and how != "bytes:":
        payload = payload.encode("utf-8", "surrogatepass")
    if not isinstance(payload, bytes):
        return None
    digest = hashlib.sha256(how.encode("utf-8", "surrogatepass"))
    digest.update(payload)
    return digest.hexdigest()


def were_scanned(scans: Scans) -> bool:
    """An image that passed unscanned after a fault is scanned again the next time."""
    return all(scan.verdict.fault is None for scan in scans)


def scan_bytes(scans: Scans) -> int:
    """Memory of scans, for caches with a bound."""
    return sum(len(scan.file or b"") + scan.verdict.nbytes for scan in scans)
