"""PDF files as pictures: each page is drawn, so that detector and model see the same pixels.

Only the drawn pages go on, never the file: its text layer, attachments, scripts and layers that are
hidden by default stay behind.
"""

from __future__ import annotations

import math

import numpy as np

from guardalign_middleware.canonical import SourceEncoding, packed
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.budget import (
    check_byte_count,
    check_size,
    check_total_pixels,
    spend,
)
from guardalign_middleware.intake.pdf_process import open_process
from guardalign_middleware.local_extra import install
from guardalign_middleware.types import CanonicalImage

_HEADER = b"%PDF-"
_HEADER_WITHIN = 1024
_POINTS_PER_INCH = 72.0
# Of a scan as a JPEG, at which its print stays sharp.
_BYTES_PER_PIXEL = 0.55


def is_pdf(data: bytes) -> bool:
    """Whether a file is a PDF: readers accept a header anywhere in its first 1024 bytes."""
    return _HEADER in data[: _HEADER_WITHIN + len(_HEADER) - 1]


def load_pdf(
    data: bytes, policy: IntakePolicy, source: str = "<bytes>", *, single: bool = False
) -> tuple[CanonicalImage, ...]:
    """Draw every page of a PDF file as a viewer shows it, or none of them.

    Annotations and form fields are drawn, rotation is applied, and what is transparent shows
    `policy.background`. The number and the sizes of the pages are checked before any is drawn.

    Args:
        data: the bytes of the file.
        policy: the caps and the resolution; whether it accepts PDF files is `check_pdf`'s question.
        source: label of the file. Pages are numbered from 1: "report.pdf#page2".
        single: reject a second page.

    Raises:
        ImageRejected: `empty`, `too_many_bytes`, `corrupt` (also a file without pages),
            `encrypted`, `dynamic_form`, `too_many_pages`, `multiple_frames`, `too_many_pixels`,
            `extreme_aspect`, `too_complex`, or `format_not_installed` where pypdfium2 is missing.
        GuardError: no process can be started to draw the pages.
    """
    check_byte_count(len(data), policy, source)
    if not is_pdf(data):
        raise ImageRejected(
            f"{source} is declared as a PDF file and is none.",
            reason="corrupt",
            source=source,
            remedy="State the actual type of the bytes.",
        )
    with open_process(policy, source) as process:
        count, points = process.open(data)
        if single and count > 1:
            raise ImageRejected(
                f"{source} has {count:,} pages.",
                reason="multiple_frames",
                source=source,
                remedy="Use load_frames, or pass the pages as separate images.",
            )
        if count > policy.max_pdf_pages:
            raise ImageRejected(
                f"{source} has {count:,} pages; at most {policy.max_pdf_pages:,} are accepted.",
                reason="too_many_pages",
                source=source,
                remedy="Pass fewer pages, or raise intake.max_pdf_pages.",
            )
        sizes = [
            page_size(width, height, policy, page_label(source, number))
            for number, (width, height) in enumerate(points, start=1)
        ]
        check_total_pixels(sum(width * height for width, height in sizes), policy, source)
        for size in sizes:
            spend(*size)
        return tuple(
            CanonicalImage(
                np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3),
                page_label(source, number),
                # Pages of few colours leave as PNG, scans as JPEG.
                SourceEncoding("PDF", round(width * height * _BYTES_PER_PIXEL), lossless=False),
                again=packed,
            )
            for number, ((width, height), pixels) in enumerate(
                zip(sizes, process.draw(sizes), strict=True), start=1
            )
        )


def check_pdf(policy: IntakePolicy, source: str) -> None:
    """Reject a PDF file unless the policy says `pages`.

    Raises:
        ImageRejected: `pdf_not_allowed`.
    """
    if policy.pdf != "pages":
        raise pdf_not_allowed(source)


def pdf_not_allowed(source: str, *, otherwise: str = "pass its pages as images") -> ImageRejected:
    """The error for a PDF file where the policy does not say `pages`.

    Args:
        source: label of the file.
        otherwise: what else the caller could do.
    """
    return ImageRejected(
        f"{source} is a PDF file.",
        reason="pdf_not_allowed",
        source=source,
        remedy=f"Set intake.pdf to pages ({install('pdf')}), or {otherwise}.",
    )


def page_size(
    width: float, height: float, policy: IntakePolicy, source: str = "<page>"
) -> tuple[int, int]:
    """Width and height in pixels for a page of this size in points.

    The page is drawn at `policy.pdf_dpi`, or smaller where its longer side would have more than
    `policy.max_pdf_side` pixels.

    Raises:
        ImageRejected: `corrupt`, `too_many_pixels` or `extreme_aspect`.
    """
    if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
        check_size(0, 0, policy, source)
    scale = min(policy.pdf_dpi / _POINTS_PER_INCH, policy.max_pdf_side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    check_size(*size, policy, source)
    return size


def page_label(source: str, number: int) -> str:
    """The label of a page, from 1: "report.pdf#page2"."""
    return f"{source}#page{number}"
