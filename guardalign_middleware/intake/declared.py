"""What a content block declares that it holds: by its kind, and by the types that it states.

A declaration decides what becomes of a block, whatever else is found inside it: a PDF with a
thumbnail stays a PDF.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from guardalign_middleware.intake.base64_runs import compact_head
from guardalign_middleware.intake.block_kinds import kind_of
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.extent import picture_format, picture_size
from guardalign_middleware.intake.media_types import MediaKind, media_kind, stated_kind
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.pdf_marks import REACH, is_pdf, may_be_pdf
from guardalign_middleware.intake.picture_traces import starts_like_picture
from guardalign_middleware.intake.sound import is_no_sound, may_be_film

Block = Mapping[str, Any]

TYPE_KEYS = ("mime_type", "mimeType", "media_type", "mediaType", "mimetype", "content_type")
"""The keys of a media type."""
PAYLOAD_KEYS = ("base64", "blob", "bytes", "data", "file_data", "result")
"""The keys of a file's bytes, its base64 or its data URL."""
LINK_KEYS = ("url", "image_url", "file_url", "file_uri", "fileUri", "uri")
"""The keys of a file's address or data URL."""
WRAPPER_KEYS = (
    *("audio", "document", "file", "fileData", "file_data", "image", "image_url", "inlineData"),
    *("inline_data", "input_audio", "resource", "source", "video", "video_url", "audio_url"),
    *("document_url", "file_url"),
)
"""The keys under which a block says more about its file in a mapping."""

# Bedrock and audio blocks state a bare format; elsewhere the word means anything.
_STATED_KEYS = (*TYPE_KEYS, "format")
_FILE_KEYS = (*PAYLOAD_KEYS, "audio", "document", "file", "image", "input_audio", "video")
_ALL_LINKS = (
    *LINK_KEYS,
    "audio_url",
    "document_url",
    "video_url",
    "s3Location",
    "file_id",
    "fileId",
    "path",
)
_NAME_KEYS = ("filename", "file_name", "name", "path", *LINK_KEYS)
# A resource names itself beside its content.
_BESIDE = {"uri", "path"}
_BARE = {"fileData", "file_data", "inlineData", "inline_data"}
_BEDROCK = {"audio", "document", "image", "video"}
_TELLING = frozenset((*TYPE_KEYS, *WRAPPER_KEYS))
# Sound and films share their endings.
_SHOWN: Mapping[MediaKind, set[MediaKind | None]] = {
    "text": {"image", "pdf", "video"},
    "audio": {"image", "pdf"},
}
_LAYERS = 4
_HEAD = REACH
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_OTHER = re.compile(r"[^A-Za-z0-9+/]+")
_OTHER_BYTES = bytes(each for each in range(256) if _OTHER.match(chr(each)))
# Gemini watches these films itself, whatever they are declared.
_FILMS = re.compile(r"\s*https?://(?:[^/?#]*[.@])?(?:youtube\.com|youtu\.be)(?:[:/?#]|$)", re.I)


@dataclass(frozen=True, eq=False)
class Declared:
    """What a block declares.

    Attributes:
        media: what it is; `file` if it says nothing, if it states types that contradict each
            other or its name, and for a text behind an address, which could be anything.
        payloads: the file's bytes, base64 or data URL; any value that stands for it.
        linked: whether it names an address, a path or an id.
        worded: whether it holds a text, or content blocks of its own.
    """

    media: MediaKind
    payloads: tuple[Any, ...] = ()
    linked: bool = False
    worded: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing that a model could be shown."""
        return not (self.payloads or self.linked or self.worded)

    def part(self) -> dict[str, Any]:
        """The file as `{"type": "file", "payload": …}`; empty without bytes, or with several."""
        if len(self.payloads) != 1:
            return {}
        return {"type": "file", "payload": self.payloads[0]}

    def holds_picture(self) -> bool:
        """Whether the file is a complete picture, whatever it is declared."""
        return next(self.pictures(), None) is not None

    def holds_pages(self) -> bool:
        """Whether the file begins like a picture or a film or is a PDF, whatever it is declared."""
        begins = _begin(self.payloads, starts_like_picture)
        return begins or any(map(is_pdf, self._files(may_be_pdf)))

    def holds_film(self) -> bool:
        """Whether the file is a film or a PDF, although it is declared sound."""
        return any(map(is_no_sound, self._files(may_be_film)))

    def pictures(self) -> Iterator[bytes]:
        """The files that are complete pictures, whatever they are declared."""
        return (data for data in self._files(_is_picture) if picture_size(data) is not None)

    def _files(self, known: Callable[[bytes], bool]) -> Iterator[bytes]:
        """The files whose first bytes are known, by each way to read their base64."""
        for payload in self.payloads:
            if _begin((payload,), known):
                data = file_bytes(payload)
                yield data or b""
                # Both ways differ only over characters of other alphabets.
                if isinstance(payload, str) and (data is None or "-" in payload or "_" in payload):
                    yield _lenient_bytes(payload) or b""


def declared(block: Block) -> Declared | None:
    """What a block of any dialect declares that it holds; None if that is no file at all.

    A block of an unknown kind is a file if it states a media type beside a file's bytes or address.
    """
    name = block_type(block) or ("type" not in block and _untyped(block)) or None
    kind = kind_of(name)
    if kind is not None and kind.media is None:
        return None
    if kind is None and _TELLING.isdisjoint(block):
        return None  # Most mappings are this.
    layers = list(_layers(block, _LAYERS))
    keys = TYPE_KEYS if kind is None else _STATED_KEYS
    stated = {stated_kind(layer.get(key)) for layer in layers for key in keys} - {None}
    if kind is None:
        found = _read(layers, stated) if stated else Declared("file")
        return found if found.payloads or found.linked else None
    if kind.media == "file":
        found = _read(layers, stated)
        only_words = found.worded and not found.payloads and not found.linked
        return Declared("text", worded=True) if only_words else found
    # Blocks of the other names are read as sound everywhere.
    heard = kind.media == "audio" and (name != "audio" or _leads_to_sound(layers))
    found = _read(layers, {kind.media, *stated}, heard=heard)
    if kind.media == "image":
        return Declared("image", found.payloads, found.linked, found.worded)
    if name == "audio" and _is_untyped(block) and _begin(found.payloads, _is_picture):
        return Declared("file", found.payloads, found.linked, found.worded)
    return found


def file_bytes(payload: object, count: int | None = None) -> bytes | None:
    """The bytes of a file in a block, or about the first `count`; None if it is no base64.

    Base64 is read as leniently as any provider might read it.
    """
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload) if count is None else bytes(payload[:count])
    if not isinstance(payload, str):
        return None
    payload = payload.lstrip()
    at = payload.find(",") + 1 if is_data_url(payload) else 0
    if count is None:
        compact = "".join(payload[at:].split())
    else:
        compact = compact_head(payload, -(-count * 4 // 3), at)
    compact = compact.rstrip("=").replace("-", "+").replace("_", "/")
    compact = compact[: len(compact) - (len(compact) % 4 == 1)]
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def begins_like_picture(payload: object) -> bool:
    """Whether bytes, base64 or a data URL begin like a picture, a film or a PDF file."""
    return _begin((payload,), starts_like_picture)


def _lenient_bytes(payload: object, count: int | None = None) -> bytes | None:
    """The bytes as Python's decoder reads base64: it leaves out characters of other alphabets."""
    if not isinstance(payload, str):
        return None
    at = payload.find(",") + 1 if is_data_url(payload.lstrip()) else 0
    if count is None:
        compact = payload[at:].encode("ascii", "replace").translate(None, _OTHER_BYTES)
    else:
        compact = compact_head(payload, -(-count * 4 // 3), at, skipped=_OTHER).encode()
    return base64.b64decode(compact[: len(compact) // 4 * 4])


def _begin(payloads: Iterable[object], known: Callable[[bytes], bool]) -> bool:
    """Whether the first bytes of a file are known, by a way to read its base64."""
    return any(
        known(read(payload, _HEAD) or b"")
        for payload in payloads
        for read in (file_bytes, _lenient_bytes)
    )


def _is_untyped(block: Block) -> bool:
    """Whether Gemini's converter takes the type of the block's file from its first bytes."""
    inline = "base64" in block or "source_type" in block
    return inline and stated_kind(block.get("mime_type")) is None


def _leads_to_sound(layers: list[Block]) -> bool:
    """Whether every address of an audio block is said to be one of sound.

    Gemini's converter goes by the type beside the address, or by the name in it; without both it
    goes by the bytes that it fetches.
    """
    for depth, layer in enumerate(layers):
        links = [link for key in _ALL_LINKS if _holds_file(link := layer.get(key), key)]
        links = [link for link in links if not (isinstance(link, str) and is_data_url(link))]
        if layer.get("source_type") == "id":
            links.append(layer.get("id"))
        if any(isinstance(link, str) and _FILMS.match(link) for link in links):
            return False
        # In Bedrock's blocks the type stands above the address.
        above = (each.get(key) for each in layers[1:] for key in _STATED_KEYS) if depth else ()
        if any(stated_kind(each) == "audio" for each in (layer.get("mime_type"), *above)):
            continue
        if not all(map(_is_named_sound, links)):
            return False
    return True


def _is_named_sound(link: object) -> bool:
    """Whether an address by its name alone leads to sound."""
    if not isinstance(link, str) or not link.lower().startswith(("http://", "https://")):
        return False
    names = (link, _QUERY.sub("", link))
    return all(stated_kind(mimetypes.guess_type(name)[0]) == "audio" for name in names)


def _is_named_otherwise(layer: Block, media: MediaKind) -> bool:
    """Whether a file that should be text or sound has the name of one that shows something."""
    shown = _SHOWN.get(media)
    names = [layer.get(key) for key in _NAME_KEYS] if shown else []
    return any(
        stated_kind(PurePosixPath(_QUERY.sub("", name)).suffix[1:]) in (shown or ())
        for name in names
        if isinstance(name, str) and not is_data_url(name)
    )


def _holds_file(value: object, key: str) -> bool:
    """Whether a field holds a file or its address, and is no mapping that says more about it."""
    return value is not None and not (isinstance(value, Mapping) and key in WRAPPER_KEYS)


def _untyped(block: Block) -> str | None:
    """The kind of Bedrock's and Google's blocks, which have no `type`."""
    for key, inner in block.items():
        if isinstance(inner, Mapping) and (
            key in _BARE
            or (
                key in _BEDROCK and isinstance(inner.get("source"), Mapping) and "type" not in inner
            )
        ):
            return str(key)
    return None


def _read(layers: list[Block], stated: set[Any], *, heard: bool = False) -> Declared:
    payloads: list[Any] = []
    links: set[str] = set()
    worded = False
    for layer in layers:
        words = block_type(layer) in {"text", "content"} and layer is not layers[0]
        for key in (*_FILE_KEYS, *_ALL_LINKS):
            value = layer.get(key)
            if not _holds_file(value, key):
                continue
            if isinstance(value, str) and is_data_url(value):
                header = value[5:300].partition(",")[0]
                stated = stated | ({stated_kind(header)} - {None})
                payloads.append(value)
            elif key in _ALL_LINKS:
                links.add(key)
            elif words and key == "data":
                worded = True
            else:
                payloads.append(value)
        if isinstance(layer.get("source_type"), str) and layer["source_type"] == "id":
            links.add("id")
        worded = worded or isinstance(layer.get("text"), str)
        worded = worded or isinstance(layer.get("content"), str | list | tuple)
    if payloads or worded:
        links -= _BESIDE
    if not stated:
        names = [layer.get(key) for layer in layers for key in _NAME_KEYS]
        stated = {media_kind(None, name) for name in names} - {"file"}
    media: MediaKind = next(iter(stated)) if len(stated) == 1 else "file"
    if links and (media == "text" or (media == "audio" and not heard)):
        media = "file"
    if (payloads or links) and any(_is_named_otherwise(layer, media) for layer in layers):
        media = "file"
    return Declared(media, tuple(payloads), bool(links), worded)


def _layers(block: Block, left: int) -> Iterator[Block]:
    yield block
    for key in WRAPPER_KEYS if left else ():
        inner = block.get(key)
        if isinstance(inner, Mapping):
            yield from _layers(inner, left - 1)


def _is_picture(head: bytes) -> bool:
    return picture_format(head) is not None
