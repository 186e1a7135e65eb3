"""Which inputs are accepted as pictures."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from guardalign_middleware.config.base import ColourLevel, Count, FrozenModel

ImageFormat = Literal["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"]
"""Formats that intake can decode; readers that start other programs are not among them."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# A last label of decimal or hexadecimal digits would make the name an address in disguise.
_NO_NUMBER = r"(?=[a-z0-9_-]*[a-z_])(?!0x[0-9a-f]*(?:$|:))"
_HOST = re.compile(rf"(?:{_LABEL}\.)*{_NO_NUMBER}{_LABEL}(?::\d{{1,5}})?")


class IntakePolicy(FrozenModel):
    """Which inputs are accepted. Caps are checked before pixels are decoded or text is tokenized.

    The caps of a request hold for one conversation or, in front of another model, for one input:
    a list of messages, a document, a node. Pictures count from the newest message back, each time
    that they occur, so that a long conversation goes on: a text takes the place of the pictures
    that are too many in its older turns.

    With `frames="scan_all"`, every frame of an animation or a multi-page file is read; the whole
    file is refused if any frame exceeds a cap. In a message, each frame becomes an image of its
    own; `ImageGuard.scan` returns the verdict on the worst frame. `load_image` and
    `ImageGuard.sanitize`, which take a single picture, refuse such files either way.

    With `pdf="pages"`, the pages of a PDF file are drawn and read like the frames of an animation.
    With "notice", adapters and the chain put a text in the file's place; wherever no text can
    stand, the file is refused, as it is with "refuse". The extra `pdf` installs what draws pages.

    Nothing is fetched from a network unless `allow_url_hosts` names the host. An entry is a host
    name for the scheme's default port ("images.example") or a name with a port
    ("images.example:8443"), never an address or a wildcard. Redirects must lead to allowed hosts.
    """

    max_bytes: Count = 20_000_000
    max_pixels: Count = Field(40_000_000, description="of one frame")
    max_request_images: Count = Field(256, description="in one request")
    max_request_pixels: Count = Field(400_000_000, description="of all pictures of one request")
    max_request_text: Count = Field(
        10_000_000, description="characters in one request, without encoded pictures"
    )
    max_request_messages: Count = Field(10_000, description="in one request")
    max_aspect: float = Field(100.0, ge=1.0, description="longer side / shorter side")
    formats: tuple[ImageFormat, ...] = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
    background: tuple[ColourLevel, ColourLevel, ColourLevel] = (255, 255, 255)
    frames: Literal["reject", "scan_all"] = "reject"
    max_frames: Count = Field(64, description="in one file, with scan_all")
    max_total_pixels: Count = Field(80_000_000, description="of all frames of one file")
    pdf: Literal["refuse", "notice", "pages"] = Field("refuse", description="for PDF files")
    max_pdf_pages: Count = Field(32, description="in one PDF file")
    pdf_dpi: int = Field(150, ge=36, le=600, description="resolution of the drawn pages")
    max_pdf_side: Count = Field(
        2000, description="longer side of a drawn page in pixels; larger pages are scaled"
    )
    max_pdf_seconds: float = Field(
        30.0, gt=0.0, le=86_400.0, description="for drawing all pages of one file"
    )
    allow_paths: bool = Field(
        False, description="whether message parts may name local files; `scan(path)` always may"
    )
    allow_url_hosts: tuple[str, ...] = Field((), description="hosts to fetch from; empty = no host")
    url_schemes: tuple[Literal["https", "http"], ...] = ("https",)
    max_url_redirects: int = Field(3, ge=0, le=100)
    max_url_seconds: float = Field(
        10.0, gt=0.0, le=86_400.0, description="for one URL, redirects included"
    )

    @field_validator("allow_url_hosts")
    @classmethod
    def _hosts_are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        lowered = tuple(host.lower() for host in hosts)
        for host in lowered:
            if not _HOST.fullmatch(host):
                raise ValueError(
                    "allow_url_hosts should hold ASCII host names, with any non-default port: "
                    f"'images.example' or 'images.example:8443'. Received {host!r}."
                )
        return lowered
