"""The pictures of a PDF file's pages as content blocks, in the dialect of the file's block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guardalign_middleware.intake.dialects import cache_mark, data_url, encode
from guardalign_middleware.intake.found_images import FoundImage
from guardalign_middleware.intake.pdf_blocks import PdfFile, pdf_file
from guardalign_middleware.intake.type_fields import file_type

Block = Mapping[Any, Any]
_GOOGLE = {
    "inlineData": "mimeType",
    "inline_data": "mime_type",
    "fileData": "mimeType",
    "file_data": "mime_type",
}


@dataclass(frozen=True)
class Page:
    """A page after the guard: a picture file that may be shown, or the text in its place.

    Attributes:
        data: the bytes of the picture file; empty if nothing may be shown.
        note: the text where nothing may be shown.
    """

    data: bytes = b""
    note: str = ""

    @property
    def mime_type(self) -> str:
        """The type of the picture file."""
        return file_type(self.data)


def found_pdf(found: FoundImage) -> PdfFile | None:
    """The PDF file in a refused block; None if it is something else."""
    file = None if found.block is None else pdf_file(found.block)
    if file is None and found.media == "pdf":
        # A block of an unknown kind that declares a PDF file.
        file = PdfFile(found.part.get("payload"))
    return file if found.media in {"pdf", "file"} else None


def page_blocks(block: Block, pages: Sequence[Page]) -> list[dict[str, Any]]:
    """Blocks for the pages of the PDF file in a block, in order.

    A cache point of the block goes to the last page, so that a prompt is cached up to there as
    before.
    """
    text = "input_text" if block.get("type") == "input_file" else "text"
    blocks = [
        {"type": text, "text": page.note} if page.note else _picture(block, page) for page in pages
    ]
    if blocks:
        blocks[-1] |= cache_mark(block)
    return blocks


def _picture(block: Block, page: Page) -> dict[str, Any]:
    b64, url = encode(page.data), data_url(page.data)
    kind = block.get("type")
    if kind is None or (kind == "document" and isinstance(block.get("document"), Mapping)):
        return _untyped(block, page, b64)
    if kind == "file" and isinstance(block.get("file"), Mapping):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "input_file":
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    if kind == "document":
        source = {"type": "base64", "media_type": page.mime_type, "data": b64}
        return {"type": "image", "source": source}
    if kind == "media":
        raw = isinstance(block.get("data"), bytes)
        data = page.data if raw else b64
        return {"type": "media", "mime_type": page.mime_type, "data": data}
    if kind == "resource":
        return {"type": "image", "data": b64, "mimeType": page.mime_type}
    if "source_type" in block:
        return {
            "type": "image",
            "source_type": "base64",
            "data": b64,
            "mime_type": page.mime_type,
        }
    return {"type": "image", "base64": b64, "mime_type": page.mime_type}


def _untyped(block: Block, page: Page, b64: str) -> dict[str, Any]:
    """Google's and Bedrock's blocks, which have no type."""
    for key, mime_key in _GOOGLE.items():
        if isinstance(block.get(key), Mapping):
            bare = "inline_data" if "_" in key else "inlineData"
            return {bare: {mime_key: page.mime_type, "data": b64}}
    image_format = page.mime_type.removeprefix("image/")
    return {"image": {"format": image_format, "source": {"bytes": page.data}}}
