"""PDF files in the metadata of documents, before the images there are cleaned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.documents.base import Blob

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.encode import encode
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.declared import file_bytes
from guardalign_middleware.intake.extent import picture_format, picture_size
from guardalign_middleware.intake.media_types import media_kind
from guardalign_middleware.intake.pdf_blocks import (
    PdfFile,
    file_name,
    load_pdf_file,
    pdf_file,
    pdf_notice,
)
from guardalign_middleware.intake.pdf_pages import Page, page_blocks

_MAX_DEPTH = 64


def without_pdfs(
    value: Any, place: str, policy: IntakePolicy, refused: list[ImageRejected], depth: int = 0
) -> Any:
    """Put the drawn pages, or a text, in the place of every PDF file of which there are bytes.

    A file that is only named, by an address or an id, is left alone: no model is shown it.

    Args:
        value: metadata, or a part of them; stays unchanged.
        place: its position, for errors.
        policy: says what becomes of PDF files.
        refused: gets the error of each file that is refused.
        depth: of the value in the metadata.

    Returns:
        The value itself, or a copy. The pages are not scanned yet.

    Raises:
        GuardError: no process can be started to draw the pages.
    """
    if depth >= _MAX_DEPTH:
        return value
    file = _pdf_in(value)
    if file is not None:
        return _in_place_of(value, file, place, policy, refused)
    if isinstance(value, Mapping):
        new = {
            key: without_pdfs(item, f"{place}[{key!r}]", policy, refused, depth + 1)
            for key, item in value.items()
        }
        return new if any(new[key] is not value[key] for key in new) else value
    if isinstance(value, list):
        items = [
            without_pdfs(item, f"{place}[{index}]", policy, refused, depth + 1)
            for index, item in enumerate(value)
        ]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else _flat(items, value)
    return value


def pdfs_in(value: Any, depth: int = 0) -> Iterator[PdfFile]:
    """The PDF files of which there are bytes.

    A complete picture that is declared a PDF file is none: it is cleaned.

    Args:
        value: metadata, or a part of them.
        depth: of the value in the metadata.
    """
    if depth >= _MAX_DEPTH:
        return
    file = _pdf_in(value)
    if file is not None:
        picture = picture_format(file_bytes(file.data, 64) or b"") is not None
        if not picture or picture_size(file_bytes(file.data) or b"") is None:
            yield file
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from pdfs_in(item, depth + 1)


def _pdf_in(value: Any) -> PdfFile | None:
    if isinstance(value, Blob):
        name = None if value.path is None else str(value.path)
        if value.data is None or media_kind(value.mimetype, name) != "pdf":
            return None
        data = value.data.encode() if isinstance(value.data, str) else value.data
        return PdfFile(data, None, file_name(name))
    file = pdf_file(value) if isinstance(value, Mapping) else None
    return None if file is None or file.data is None else file


def _in_place_of(
    value: Any, file: PdfFile, place: str, policy: IntakePolicy, refused: list[ImageRejected]
) -> Any:
    if policy.pdf == "notice":
        return pdf_notice(file)
    try:
        images = load_pdf_file(file, place, policy)
    except ImageRejected as error:
        refused.append(error)
        return pdf_notice(file, error)
    pages = [Page(encode(image, formats=policy.formats).data) for image in images]
    if not isinstance(value, Blob):
        return _Pages(page_blocks(value, pages))
    return _Pages(
        Blob(data=page.data, mimetype=page.mime_type, metadata=dict(value.metadata))
        for page in pages
    )


class _Pages(list[Any]):
    """The pages of one file, which go into the list around them."""


def _flat(items: list[Any], old: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for new, before in zip(items, old, strict=True):
        flat += new if isinstance(new, _Pages) and new is not before else [new]
    return flat
