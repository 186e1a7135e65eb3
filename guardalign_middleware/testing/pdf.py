"""PDF files, written by hand so that each colour is exact, and their forms in messages."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.testing.photos import file_of
from guardalign_middleware.testing.pictures import BOX, picture

SIDE = 64
"""Width and height of the pages in points; at 72 dpi, as many pixels."""

BLUE_PAGE = b"0 0 1 rg 0 0 64 64 re f"
RED_PAGE = BLUE_PAGE + b" 1 0 0 rg %d %d %d %d re f" % (
    *(BOX[0], SIDE - BOX[3]),
    *(BOX[2] - BOX[0], BOX[3] - BOX[1]),
)
"""A page that looks like `picture(red=True)`."""
ALL_RED_PAGE = b"1 0 0 rg 0 0 64 64 re f"
"""A page that looks like `all_red()`."""

PAGES = IntakePolicy(pdf="pages", pdf_dpi=72)
"""Reads the pages of PDF files, a pixel for each point."""


def drawn_pdf(
    *contents: bytes,
    page: bytes = b"/MediaBox[0 0 64 64]",
    catalog: bytes = b"",
    trailer: bytes = b"",
    objects: Sequence[bytes] = (),
    count: int | None = None,
) -> bytes:
    """A PDF file with one page for each content stream.

    Args:
        contents: of each page, in PDF's drawing language.
        page: further entries of each page, such as `/Rotate 90`.
        catalog: further entries of the catalog, which is object 1.
        trailer: further entries of the trailer.
        objects: further objects, numbered from 3.
        count: how many pages the file claims to have, if not as many as it has.
    """
    first = 3 + len(objects)
    kids = b" ".join(b"%d 0 R" % (first + 2 * index) for index in range(len(contents)))
    claimed = len(contents) if count is None else count
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (claimed, kids),
        *objects,
    ]
    for index, content in enumerate(contents):
        bodies += [
            b"<</Type/Page/Parent 2 0 R/Contents %d 0 R%s>>" % (first + 2 * index + 1, page),
            stream(content),
        ]
    written = b"%PDF-1.7\n"
    offsets = []
    for number, body in enumerate(bodies, start=1):
        offsets.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(bodies) + 1
    return b"%sxref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R%s>>\n" % (
        *(written, size, table, size, trailer),
    ) + b"startxref\n%d\n%%%%EOF\n" % len(written)


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(content), entries, content)


def encrypted_pdf() -> bytes:
    """A PDF file that opens only with a password."""
    lock = b"/Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>" % (b"ab" * 32, b"cd" * 32)
    return drawn_pdf(BLUE_PAGE, trailer=b"/Encrypt 3 0 R/ID[<00><00>]", objects=[b"<<%s>>" % lock])


def scanned_pdf() -> bytes:
    """A PDF file of two scanned pages, whose first JPEG lies at an offset divisible by 3.

    A search for base64 finds the JPEG there, although it is only a part of the file.
    """
    first, second = picture().to_pil(), picture(red=True).to_pil()
    data = file_of(first, "PDF", save_all=True, append_images=[second])
    # Readers accept other bytes before the header.
    return b"\n" * (-data.index(b"\xff\xd8\xff") % 3) + data


def pdf_blocks_of(raw: bytes, name: str = "report.pdf") -> dict[str, Any]:
    """A content block with a PDF file in each dialect, by the dialect's name."""
    b64 = base64.b64encode(raw).decode("ascii")
    mime_type = "application/pdf"
    url = f"data:{mime_type};base64,{b64}"
    return {
        "v1": {"type": "file", "base64": b64, "mime_type": mime_type, "filename": name},
        "v1 data url": {"type": "file", "url": url, "mime_type": mime_type},
        "v0": {"type": "file", "source_type": "base64", "data": b64, "mime_type": mime_type},
        "openai": {"type": "file", "file": {"filename": name, "file_data": url}},
        "openai responses": {"type": "input_file", "filename": name, "file_data": url},
        "anthropic": {
            "type": "document",
            "source": {"type": "base64", "media_type": mime_type, "data": b64},
            "title": name,
            "cache_control": {"type": "ephemeral"},
        },
        "bedrock": {"document": {"format": "pdf", "name": "report", "source": {"bytes": raw}}},
        "google": {"type": "media", "mime_type": mime_type, "data": b64},
        "google bytes": {"type": "media", "mime_type": mime_type, "data": raw},
        "google inline": {"inlineData": {"mimeType": mime_type, "data": b64}},
        "mcp resource": {
            "type": "resource",
            "resource": {"uri": f"file:///{name}", "mimeType": mime_type, "blob": b64},
        },
    }
