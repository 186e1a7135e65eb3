"""PDF files in content blocks, in every dialect that a conversation may come in.

The dialects are LangChain's `file`, MCP's `resource`, OpenAI's `file` and `input_file`, Anthropic's
and Bedrock's `document`, and Google's `media`, `inlineData` and `fileData`. What a block declares
decides: its bytes are not asked whether they are a PDF file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from guardalign_middleware import notices
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.data_url import (
    check_mime,
    decode_base64,
    is_data_url,
    parse_data_url,
)
from guardalign_middleware.intake.load import is_remote_url, read_source
from guardalign_middleware.intake.media_types import media_kind
from guardalign_middleware.intake.part import Fetch, naming, read_address
from guardalign_middleware.intake.pdf import check_pdf, load_pdf
from guardalign_middleware.types import CanonicalImage

_UNTYPED = ("document", "inlineData", "inline_data", "fileData", "file_data")
_KINDS = ("file", "input_file", "media", "resource", *_UNTYPED)
_TYPE_KEYS = (
    *("mime_type", "mimeType", "media_type", "mimetype", "content_type"),
    *("document_mimetype", "format"),
)
_NAME_KEYS = ("filename", "file_name", "name", "title", "display_name", "displayName")
_DATA_KEYS = ("base64", "data", "file_data", "bytes", "blob")
_ADDRESS_KEYS = ("url", "file_url", "file_uri", "fileUri", "uri", "path")
_UNSHOWN = re.compile(r"[^\w .()+-]")
_LONGEST_NAME = 60


@dataclass(frozen=True)
class PdfFile:
    """A PDF file as a block holds it.

    Attributes:
        data: its bytes, base64 or `data:` URL; None if the block only says where it is.
        address: a URL or path, instead of data; with neither, it lies with the model's provider.
        name: what the block calls it.
    """

    data: object = None
    address: str | None = None
    name: str | None = None

    @property
    def label(self) -> str:
        """Its name for messages and for the labels of its pages; "<PDF>" without one."""
        return shown_name(self.name) or "<PDF>"


def pdf_file(block: Mapping[Any, Any]) -> PdfFile | None:
    """The PDF file in a block; None if the block declares something else."""
    layers = list(_layers(block))
    if not layers:
        return None
    name = _first_text(layers, _NAME_KEYS)
    data = _first(layers, _DATA_KEYS)
    address = _first_text(layers, _ADDRESS_KEYS)
    declared = _first_text(layers, _TYPE_KEYS)
    if isinstance(data, str) and is_data_url(data):
        declared = data[5:].split(",", 1)[0]
    elif declared is None and address is not None and is_data_url(address):
        declared = address[5:].split(",", 1)[0]
    kind = media_kind(declared, name)
    last = file_name(address)
    if kind == "file" and declared is None:
        kind = media_kind(None, last)
        # Anthropic's documents behind a URL are always PDF files.
        if kind == "file" and layers[-1].get("type") == "url" and block.get("type") == "document":
            kind = "pdf"
    if kind != "pdf":
        return None
    if data is None and address is not None and is_data_url(address):
        data, address = address, None
    return PdfFile(data, address if data is None else None, name or last)


def load_pdf_file(
    file: PdfFile,
    place: str,
    policy: IntakePolicy,
    *,
    fetch: Fetch | None = None,
) -> tuple[CanonicalImage, ...]:
    """Draw the pages of a PDF file from a message.

    Args:
        file: what `pdf_file` found.
        place: position of the block; every error names it.
        policy: caps, and whether PDF files are drawn and addresses followed.
        fetch: downloads http(s) URLs, replacing the policy's rules for them.

    Raises:
        ImageRejected: as `load_pdf` does, and `pdf_not_allowed`, `bad_data_url`,
            `path_not_allowed`, `url_not_allowed` or `unsupported_type`.
        GuardError: no process can be started to draw the pages.
    """
    with naming(place):
        check_pdf(policy, file.label)
        return load_pdf(_read(file, policy, fetch), policy, file.label)


def pdf_notice(file: PdfFile, error: ImageRejected | None = None) -> str:
    """The text in place of a PDF file.

    Args:
        file: what is not shown.
        error: why; without one, because the policy says `notice`.
    """
    if error is None:
        error = ImageRejected("", reason="pdf_not_allowed")
    name = shown_name(file.name)
    # That cause says what it is.
    what = "file" if error.reason == "pdf_not_allowed" else notices.FILES["pdf"]
    return notices.refused(error, f"file {name}" if name else what)


def shown_name(name: str | None) -> str:
    """A file's name for a text that a model reads: one short line without brackets."""
    return _UNSHOWN.sub("_", name)[-_LONGEST_NAME:].strip() if name else ""


def file_name(address: str | None) -> str | None:
    """The last part of a URL or path, without a query, if it is the name of a PDF file."""
    if address is None or is_data_url(address):
        return None
    path = re.split(r"[?#]", address, maxsplit=1)[0] if is_remote_url(address) else address
    name = re.split(r"[/\\]", path)[-1]
    return name if media_kind(None, name) == "pdf" else None


def _read(file: PdfFile, policy: IntakePolicy, fetch: Fetch | None) -> bytes:
    data = file.data
    if isinstance(data, str):
        if is_data_url(data):
            encoded = parse_data_url(data, policy)
            check_mime(encoded.mime_type or "", "PDF", file.label)
            return encoded.data
        return decode_base64(data, policy, file.label)
    if isinstance(data, bytes | bytearray | memoryview):
        return read_source(data, policy).data
    if data is None and file.address is not None:
        return read_address(file.address, policy, fetch)
    raise ImageRejected(
        f"{file.label} holds no bytes: the file lies with the model's provider."
        if data is None
        else f"{file.label} is a {type(data).__name__}.",
        reason="unsupported_type",
        source=file.label,
        remedy="Pass its bytes as base64.",
    )


def _layers(block: Mapping[Any, Any]) -> Iterator[Mapping[Any, Any]]:
    """The mappings of a file block, outermost first; nothing for blocks of other kinds."""
    kind = block.get("type")
    if kind is None:
        kind = next((key for key in _UNTYPED if isinstance(block.get(key), Mapping)), None)
    if not isinstance(kind, str) or kind not in _KINDS:
        return
    yield block
    inner = block
    for key in (kind, "source", "s3Location"):
        value = inner.get(key)
        if isinstance(value, Mapping):
            yield value
            inner = value


def _first(layers: list[Mapping[Any, Any]], keys: tuple[str, ...]) -> object:
    """The innermost value under one of the keys."""
    for layer in reversed(layers):
        for key in keys:
            value = layer.get(key)
            if value is not None and not isinstance(value, Mapping):
                return value
    return None


def _first_text(layers: list[Mapping[Any, Any]], keys: tuple[str, ...]) -> str | None:
    for layer in reversed(layers):
        for key in keys:
            value = layer.get(key)
            if isinstance(value, str) and value:
                return value
    return None
