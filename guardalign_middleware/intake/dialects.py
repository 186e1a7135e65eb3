"""Every form in which a content block writes an image: how to read it, and how to replace it.

To add a dialect, add it to `read_image` and to `guardalign_middleware.testing.dialects`. The known
dialects are those of LangChain v1 and v0, OpenAI Chat Completions and Responses, Anthropic,
Bedrock, Google, MCP and transformers. Images are translated to parts of the core;
`intake/part.py` decodes them.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.declared import (
    LINK_KEYS,
    PAYLOAD_KEYS,
    WRAPPER_KEYS,
    declared,
    file_bytes,
)
from guardalign_middleware.intake.part import block_type
from guardalign_middleware.intake.type_fields import file_type, retyped

Part = dict[str, Any]
Block = Mapping[str, Any]

# The smallest picture takes more characters.
_NAME = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_REMEDY = "Give the image as base64 or as a data URL."
# With two of these, a block could hold two images, and only one of them would be scanned.
_ORIGINS = ("base64", "data", "file_id", "image", "image_url", "path", "source", "url")
MIME_KEYS = ("mime_type", "mimeType", "media_type")


@dataclass(frozen=True, eq=False)
class ImageSlot:
    """An image inside a block.

    Attributes:
        part: the image as a part of the core.
        put: returns a copy of the block with this picture file in place of the image, and with
            its type wherever the block stated one.
        rest: the block without the image; it should hold no other image.
    """

    part: Part
    put: Callable[[bytes], Any]
    rest: Part


def read_image(block: Block, place: str) -> ImageSlot | None:
    """Read the image of a block in any known dialect; None if the block is of another kind.

    Raises:
        ImageRejected: an image block without bytes, such as a file id.
        MessageError: the block names two images.
    """
    found = declared(block)
    if found is None or found.media != "image":
        return None
    kind = block_type(block)
    if kind in {"image_url", "input_image", "computer_screenshot"}:
        return _image_url(block, place)
    if kind == "image_generation_call":
        return _drawn(block, place)
    if kind in {"image", None} and isinstance(block.get("image"), Mapping):
        return _bedrock(block, place)
    if kind == "image" or (kind == "file" and not isinstance(block.get("file"), Mapping)):
        return _image(block, place)
    return _file(block, place)


def with_types(block: Block, mime_type: str, key: str) -> dict[Any, Any]:
    """A copy of the block that states this type wherever it stated that of the key's picture."""
    return {**block, **retyped(block, mime_type, (key,))}


def note_block(note: str, block: Block) -> dict[str, Any]:
    """A text block in place of an image block; it keeps the id and where a prompt is cached."""
    kept: Part = {"id": block["id"]} if _is_name(block.get("id")) else {}
    return {"type": "text", "text": note, **kept, **cache_mark(block)}


def cache_mark(block: Block) -> Part:
    """The mark by which Anthropic caches a prompt up to a block; nothing if it is another value."""
    mark = block.get("cache_control")
    plain = isinstance(mark, Mapping) and all(
        _is_name(value) for item in mark.items() for value in item
    )
    return {"cache_control": mark} if plain else {}


def _is_name(value: object) -> bool:
    """Whether a value is a number or a name, in which no picture has room."""
    return isinstance(value, int) or (isinstance(value, str) and bool(_NAME.fullmatch(value)))


def data_url(file: bytes) -> str:
    """A picture file as a data URL."""
    return f"data:{file_type(file)};base64,{encode(file)}"


def encode(file: bytes) -> str:
    """A picture file as base64."""
    return base64.b64encode(file).decode("ascii")


def open_file(file: bytes) -> Image.Image:
    """Decode a picture file that the guard has encoded itself."""
    with Image.open(io.BytesIO(file)) as picture:
        return picture.convert("RGB")


def _image_url(block: Block, place: str) -> ImageSlot:
    _require_one_origin(block, place)
    link = block.get("image_url")
    if isinstance(link, Mapping):
        return _within(block, "image_url", _url(link, "url", place))
    return _url(block, "image_url", place)


def _image(block: Block, place: str) -> ImageSlot:
    """`image` blocks of LangChain v1 and v0, Anthropic, MCP and transformers."""
    _require_one_origin(block, place)
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
    """A PIL picture, bytes, a data URL, or a path, which is replaced by base64."""
    value = block[key]

    def put(file: bytes) -> dict[str, Any]:
        if isinstance(value, Image.Image):
            return {**block, key: open_file(file)}
        typed = with_types(block, file_type(file), key)
        if isinstance(value, bytes | bytearray):
            return {**typed, key: file}
        if isinstance(value, str) and is_data_url(value):
            return {**typed, key: data_url(file)}
        return {**_without(typed, key), "base64": encode(file), "mime_type": file_type(file)}

    return ImageSlot({"type": "image", key: value}, put, _without(block, key))


def _fields(block: Block, place: str, *, data: str, mime: str, url: str) -> ImageSlot:
    payload = block.get(data)
    if payload is not None and block.get(url) is not None:
        raise _two_origins((data, url), place)
    rest = _without(block, data)
    part: Part
    if isinstance(payload, bytes):
        part = {"type": "image", "image": payload}
        return ImageSlot(part, lambda file: _put(block, data, file, file), rest)
    if payload is not None:
        part = {"type": "image", "base64": payload, "mime_type": block.get(mime)}
        return ImageSlot(part, lambda file: _put(block, data, encode(file), file), rest)
    return _url(block, url, place)


def _url(block: Block, key: str, place: str) -> ImageSlot:
    """Any URL; the core's intake policy decides whether it may be read."""
    link = block.get(key)
    if not isinstance(link, str):
        raise _no_bytes(block, place)
    part = {"type": "image_url", "image_url": {"url": link}}
    rest = _without(block, key)
    return ImageSlot(part, lambda file: _put(block, key, data_url(file), file), rest)


def _bedrock(block: Block, place: str) -> ImageSlot:
    image = block["image"]
    source = image.get("source")
    payload = source.get("bytes") if isinstance(source, Mapping) else None
    if not isinstance(payload, bytes):
        raise _no_bytes(image, place)
    bare = ImageSlot(
        {"type": "image", "image": payload},
        lambda file: {**source, "bytes": file},
        _without(source, "bytes"),
    )
    inner = _within(image, "source", bare)

    def put(file: bytes) -> dict[str, Any]:
        return {**inner.put(file), "format": file_type(file).partition("/")[2]}

    return _within(block, "image", ImageSlot(inner.part, put, inner.rest))


def _drawn(block: Block, place: str) -> ImageSlot | None:
    """What OpenAI's model drew; None for its id alone, which the model's own provider resolves."""
    if block.get("result") is None:
        return None
    mime = f"image/{block.get('output_format') or 'png'}"
    inner = _fields({**block, "mime_type": mime}, place, data="result", mime="mime_type", url="url")

    def put(file: bytes) -> Part:
        kind = file_type(file).partition("/")[2]
        # Without a format it would be PNG.
        stated = {} if kind == "png" else {"output_format": kind}
        return {**with_types(block, file_type(file), "result"), **stated, "result": encode(file)}

    return ImageSlot(inner.part, put, _without(block, "result"))


def _file(block: Block, place: str) -> ImageSlot:
    """A file of a declared image type, at any depth: OpenAI, Google, MCP, and kinds yet to come."""
    wrapped = [key for key in WRAPPER_KEYS if isinstance(block.get(key), Mapping)]
    payloads = [key for key in PAYLOAD_KEYS if isinstance(block.get(key), str | bytes)]
    links = [key for key in LINK_KEYS if isinstance(block.get(key), str)]
    ids = [key for key in ("file_id", "fileId") if block.get(key) is not None]
    if payloads and "uri" in links:
        links.remove("uri")  # MCP names a resource beside its content.
    given = [*wrapped, *payloads, *links, *ids]
    if len(given) > 1:
        raise _two_origins(given, place)
    if not given or ids:
        raise _no_bytes(block, place)
    (key,) = given
    value = block[key]
    if wrapped:
        return _within(block, key, _file(value, place))
    if links or (isinstance(value, str) and is_data_url(value)):
        return _url(block, key, place)
    mime = next((each for each in MIME_KEYS if isinstance(block.get(each), str)), None)
    slot = _fields(block, place, data=key, mime=mime or "mime_type", url="url")
    if mime is None and isinstance(value, str):
        # A name with an ending says what the base64 is, or the block around it.
        return ImageSlot({"type": "image", "image": file_bytes(value) or b""}, slot.put, slot.rest)
    return slot


def _put(block: Block, key: str, value: object, file: bytes) -> dict[str, Any]:
    return {**with_types(block, file_type(file), key), key: value}


def _within(block: Block, key: str, inner: ImageSlot) -> ImageSlot:
    return ImageSlot(
        inner.part,
        lambda file: with_types({**block, key: inner.put(file)}, file_type(file), key),
        {**block, key: inner.rest},
    )


def _without(block: Block, key: str) -> Part:
    return {name: value for name, value in block.items() if name != key}


def _require_one_origin(block: Block, place: str) -> None:
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
        f"{place} holds no image bytes (its keys: {given}).",
        reason="unsupported_type",
        source=place,
        remedy=_REMEDY,
    )
