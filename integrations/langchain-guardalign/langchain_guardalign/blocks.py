"""Every way in which a content block writes an image: how it is read, and how it is put back.

This is the one place that knows the dialects: LangChain v1 and v0, OpenAI's chat and responses
forms, Anthropic, Bedrock, Google, MCP and transformers. Nothing is decoded here.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from guardalign_middleware.errors import ImageRejected, MessageError

Part = dict[str, Any]
Block = Mapping[str, Any]

PNG = "image/png"
_REMEDY = "Give the image as base64 or as a data URL."
# Two of these in one block could be two images, of which only one would be scanned.
_ORIGINS = ("base64", "data", "file_id", "image", "image_url", "path", "source", "url")
_TEXT_TYPES = ("text/", "audio/")
_NESTED = ("source", "file", "value")
_MIME_KEYS = ("mime_type", "mimeType", "media_type")


@dataclass(frozen=True, eq=False)
class ImageSlot:
    """An image inside something larger.

    Attributes:
        part: the image as a message part of the core.
        put: what was around the image, with these PNG bytes in its place; the original is not
            changed.
        rest: what was around the image, without it; no other image should be in there.
    """

    part: Part
    put: Callable[[bytes], Any]
    rest: Part


def read_image(block: Block, place: str) -> ImageSlot | None:
    """The image of a block in any known dialect; None when the block is of another kind.

    Raises:
        ImageRejected: the block is an image and has no bytes, a file id for instance.
        MessageError: the block names two images.
    """
    kind = block_type(block)
    if kind in {"image_url", "input_image"}:
        return _image_url(block, place)
    if kind in {"image", None} and isinstance(block.get("image"), Mapping):
        return _bedrock(block, place)
    if kind == "image":
        return _image(block, place)
    if kind == "media" and is_image_type(block.get("mime_type")):
        return _fields(block, place, data="data", mime="mime_type", url="file_uri")
    if kind == "file" and isinstance(block.get("file"), Mapping):
        return _openai_file(block, place)
    if kind == "file" and is_image_type(block.get("mime_type")):
        return _image(block, place)
    return None


def block_type(block: Block) -> str | None:
    """The type that a block states; None also where it states one that is no word."""
    kind = block.get("type")
    return kind if isinstance(kind, str) else None


def names_an_image(block: Block) -> bool:
    """Whether a block of a known image kind really names one, by bytes or by reference."""
    if isinstance(block.get("image"), Mapping):
        return isinstance(block["image"].get("source"), Mapping)
    if block.get("source_type") == "id":
        return True
    return any(block.get(key) is not None for key in (*_ORIGINS, "file", "file_uri"))


def unreadable(block: Block) -> str | None:
    """Why a block in which no image was found could hold one; None when it could not."""
    kind = str(block.get("type") or "").lower()
    inner = [block, *(block[key] for key in _NESTED if isinstance(block.get(key), Mapping))]
    types = [
        str(each[key]).lower() for each in inner for key in _MIME_KEYS if each.get(key) is not None
    ]
    if (
        any(map(is_image_type, types))
        or any(word in kind for word in ("image", "picture", "photo", "screenshot"))
        or any(block.get(key) for key in ("image", "images", "image_url"))
    ):
        return "seems to hold an image and cannot be read"
    if _is_film_or_document(block, kind, types):
        return "can hold pictures that this guard does not read (film, PDF, file)"
    return None


def is_image_type(mime_type: object) -> bool:
    """Whether a value is the MIME type of an image."""
    return isinstance(mime_type, str) and mime_type.strip().lower().startswith("image/")


def as_png(block: Block) -> dict[str, Any]:
    """The block, with the image types that it states changed to PNG."""
    return {
        key: PNG if key in _MIME_KEYS and is_image_type(value) else value
        for key, value in block.items()
    }


def data_url(png: bytes) -> str:
    """PNG bytes as a data URL."""
    return f"data:{PNG};base64,{encode(png)}"


def encode(png: bytes) -> str:
    """PNG bytes as base64."""
    return base64.b64encode(png).decode("ascii")


def open_png(png: bytes) -> Image.Image:
    """PNG bytes of our own making as a loaded picture."""
    with Image.open(io.BytesIO(png)) as file:
        return file.convert("RGB")


def _image_url(block: Block, place: str) -> ImageSlot:
    _one_origin(block, place)
    link = block.get("image_url")
    if isinstance(link, Mapping):
        return _within(block, "image_url", _url(link, "url", place))
    return _url(block, "image_url", place)


def _image(block: Block, place: str) -> ImageSlot:
    """`image` blocks of LangChain v1 and v0, Anthropic, MCP and transformers."""
    _one_origin(block, place)
    source = block.get("source")
    if isinstance(source, Mapping):
        inner = _fields(source, place, data="data", mime="media_type", url="url")
        return _within(block, "source", inner)
    if block.get("base64") is not None:
        return _fields(block, place, data="base64", mime="mime_type", url="url")
    if block.get("data") is not None:
        mime = "mimeType" if "mimeType" in block else "mime_type"
        return _fields(block, place, data="data", mime=mime, url="url")
    if block.get("url") is not None:
        return _url(block, "url", place)
    for key in ("image", "path"):
        if block.get(key) is not None:
            return _local(block, key)
    raise _no_bytes(block, place)


def _local(block: Block, key: str) -> ImageSlot:
    """A picture, bytes, a data URL or a path; what a path names becomes base64."""
    value = block[key]

    def put(png: bytes) -> dict[str, Any]:
        if isinstance(value, Image.Image):
            return {**block, key: open_png(png)}
        if isinstance(value, bytes | bytearray):
            return {**block, key: png}
        if isinstance(value, str) and value[:5].lower() == "data:":
            return {**block, key: data_url(png)}
        return {**_without(block, key), "base64": encode(png), "mime_type": PNG}

    return ImageSlot({"type": "image", key: value}, put, _without(block, key))


def _fields(block: Block, place: str, *, data: str, mime: str, url: str) -> ImageSlot:
    payload = block.get(data)
    if payload is not None and block.get(url) is not None:
        raise _two_origins((data, url), place)
    rest = _without(block, data)
    part: Part
    if isinstance(payload, bytes):
        part = {"type": "image", "image": payload}
        return ImageSlot(part, lambda png: as_png({**block, data: png}), rest)
    if payload is not None:
        part = {"type": "image", "base64": payload, "mime_type": block.get(mime)}
        return ImageSlot(part, lambda png: as_png({**block, data: encode(png)}), rest)
    return _url(block, url, place)


def _url(block: Block, key: str, place: str) -> ImageSlot:
    """The core reads data URLs and refuses what needs a network or a disk."""
    link = block.get(key)
    if not isinstance(link, str):
        raise _no_bytes(block, place)
    part = {"type": "image_url", "image_url": {"url": link}}
    return ImageSlot(part, lambda png: as_png({**block, key: data_url(png)}), _without(block, key))


def _bedrock(block: Block, place: str) -> ImageSlot:
    image = block["image"]
    source = image.get("source")
    payload = source.get("bytes") if isinstance(source, Mapping) else None
    if not isinstance(payload, bytes):
        raise _no_bytes(image, place)
    bare = ImageSlot(
        {"type": "image", "image": payload},
        lambda png: {**source, "bytes": png},
        _without(source, "bytes"),
    )
    return _within(block, "image", _within({**image, "format": "png"}, "source", bare))


def _openai_file(block: Block, place: str) -> ImageSlot | None:
    file = block["file"]
    data = file.get("file_data")
    if isinstance(data, str) and not data.lower().startswith("data:image/"):
        return None
    if file.get("file_id") is not None and data is not None:
        raise _two_origins(("file_data", "file_id"), place)
    return _within(block, "file", _url(file, "file_data", place))


def _within(block: Block, key: str, inner: ImageSlot) -> ImageSlot:
    return ImageSlot(
        inner.part, lambda png: {**block, key: inner.put(png)}, {**block, key: inner.rest}
    )


def _without(block: Block, key: str) -> Part:
    return {name: value for name, value in block.items() if name != key}


def _one_origin(block: Block, place: str) -> None:
    given = [key for key in _ORIGINS if block.get(key) is not None]
    if len(given) > 1:
        raise _two_origins(given, place)


def _two_origins(keys: tuple[str, ...] | list[str], place: str) -> MessageError:
    return MessageError(
        f"{place} has both {' and '.join(map(repr, keys))}, which could be two different images.",
        remedy=_REMEDY,
    )


def _no_bytes(block: Block, place: str) -> ImageRejected:
    given = ", ".join(sorted(str(key) for key in block)) or "nothing"
    return ImageRejected(
        f"{place} gives no image bytes (it has {given}).",
        reason="unsupported_type",
        source=place,
        remedy=_REMEDY,
    )


def _is_film_or_document(block: Block, kind: str, types: list[str]) -> bool:
    if kind == "document":
        source = block.get("source")
        return isinstance(source, Mapping) and source.get("type") not in {"text", "content"}
    if any(name.startswith(("video/", "application/pdf")) for name in types):
        return True
    if kind.startswith("video") or kind in {"file", "input_file", "media"}:
        return not any(name.startswith(_TEXT_TYPES) for name in types)
    return not kind and any(isinstance(block.get(key), Mapping) for key in ("document", "video"))
