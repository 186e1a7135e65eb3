"""LlamaIndex messages and nodes to GuardAlign's role/content mappings, and cleaned ones back.

Each image is resolved to bytes once. A block that is not known raises: it could carry an image past
the guard.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from llama_index.core.base.llms.types import (
    BaseRecursiveContentBlock,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.schema import ImageDocument, ImageNode, Node, NodeWithScore

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.guard import BLOCKED_NOTE
from guardalign_middleware.sanitize import SanitizedImage

Part = dict[str, Any]
_ROLES = {
    "user": "user",
    "assistant": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}


def to_role_content(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Turn chat messages into what `GuardAlign.prepare` takes; the messages are not changed.

    Raises:
        MessageError: a role or block that is not known; the message names the place.
        ImageRejected: an image block without an image.
    """
    content = []
    for index, message in enumerate(messages):
        role = _ROLES.get(message.role.value)
        if role is None:
            raise MessageError(f"messages[{index}] has the unknown role {message.role.value!r}.")
        place = f"messages[{index}].blocks"
        parts = [part for block in message.blocks for part in _parts(block, place)]
        parts += [_loose_image(item, place) for item in message.additional_kwargs.get("images", [])]
        content.append({"role": role, "content": parts or [{"type": "text", "text": ""}]})
    return content


def image_blocks(documents: Sequence[object]) -> list[ImageBlock]:
    """The `image_documents` of a completion as blocks that hold just one source each.

    Raises:
        MessageError: something that carries no image.
        ImageRejected: an image without bytes, path or URL.
    """
    blocks = []
    for index, item in enumerate(documents):
        place = f"image_documents[{index}]"
        node = item.node if isinstance(item, NodeWithScore) else item
        if isinstance(node, ImageBlock):
            blocks.append(node)
        elif isinstance(node, ImageNode | ImageDocument):
            blocks.append(_block(node.image, node.image_path, node.image_url, place))
        elif isinstance(node, Node) and node.image_resource is not None:
            found = node.image_resource
            blocks.append(_block(found.data, found.path, found.url, place))
        else:
            raise MessageError(
                f"{place} is a {type(node).__name__} and carries no image.",
                remedy="Give ImageBlock, ImageNode, ImageDocument, or a Node with an image.",
            )
    return blocks


def cleaned_messages(
    messages: Sequence[ChatMessage], images: Sequence[SanitizedImage]
) -> list[ChatMessage]:
    """Copies in which every image is the cleaned one, for events and callbacks.

    Args:
        messages: what the caller gave; not changed.
        images: what the guard made of their images, in reading order.
    """
    rest = iter(images)
    copies = []
    for message in messages:
        blocks = [_cleaned(block, rest) for block in message.blocks]
        loose = message.additional_kwargs.get("images", [])
        blocks += [_shown(next(rest)) for _ in loose]
        extra = {key: value for key, value in message.additional_kwargs.items() if key != "images"}
        copies.append(ChatMessage(role=message.role, blocks=blocks, additional_kwargs=extra))
    return copies


def _parts(block: object, place: str) -> list[Part]:
    if isinstance(block, TextBlock):
        return [{"type": "text", "text": block.text}]
    if isinstance(block, ImageBlock):
        return [_image(block, place)]
    if isinstance(block, ThinkingBlock | CachePoint):
        return []  # no model is shown these again
    if isinstance(block, ToolCallBlock):
        called = block.tool_kwargs
        text = called if isinstance(called, str) else json.dumps(called)
        return [{"type": "text", "text": f"[called {block.tool_name} with {text}]"}]
    if isinstance(block, BaseRecursiveContentBlock):
        return [part for inner in block.nested_blocks for part in _parts(inner, place)]
    if _is_image_document(block):
        return [_source(block.data, block.path, block.url, place)]
    raise MessageError(
        f"{place} holds a {type(block).__name__}.",
        remedy="Only text and images can be shown to this model.",
    )


def _is_image_document(block: object) -> TypeGuard[DocumentBlock]:
    return isinstance(block, DocumentBlock) and str(block.document_mimetype).startswith("image/")


def _image(block: ImageBlock, place: str) -> Part:
    return _source(block.image, block.path, block.url, place)


def _source(data: object, path: object, url: object, place: str) -> Part:
    """Bytes before path before URL, as LlamaIndex resolves them; the rest is never looked at."""
    if isinstance(data, io.IOBase):
        data.seek(0)
        return {"type": "image", "image": data.read()}
    if isinstance(data, bytes) and data:
        return {"type": "image", "image": _from_base64(data, place)}
    if path is not None:
        return {"type": "image", "path": str(path)}
    if url is not None:
        return {"type": "image_url", "image_url": {"url": str(url)}}
    raise _no_image(place)


def _block(data: str | bytes | None, path: object, url: object, place: str) -> ImageBlock:
    if data:
        encoded = data.encode() if isinstance(data, str) else data
        return ImageBlock(image=_from_base64(encoded, place))
    if path is not None:
        # Not checked here: whether the file may even be looked at is for the intake to say.
        return ImageBlock.model_construct(path=Path(str(path)))
    if url is not None:
        return ImageBlock(url=str(url))
    raise _no_image(place)


def _from_base64(data: bytes, place: str) -> bytes:
    """Blocks and nodes keep their bytes in base64."""
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ImageRejected(
            f"{place} holds an image that is not valid base64.",
            reason="bad_data_url",
            source=place,
            remedy="Build the block from the file's bytes.",
        ) from error


def _loose_image(item: object, place: str) -> Part:
    if isinstance(item, ImageBlock):
        return _image(item, place)
    if isinstance(item, bytes):
        return {"type": "image", "image": item}
    if isinstance(item, str):
        if item.startswith("data:"):
            return {"type": "image_url", "image_url": {"url": item}}
        return {"type": "image", "image": _from_base64(item.encode(), place)}
    raise MessageError(f'additional_kwargs["images"] holds a {type(item).__name__}.')


def _no_image(place: str) -> ImageRejected:
    return ImageRejected(
        f"{place} holds an image without bytes, path or URL.",
        reason="unsupported_type",
        source=place,
        remedy="Give the image's bytes.",
    )


def _cleaned(block: Any, rest: Iterator[SanitizedImage]) -> Any:
    if isinstance(block, ImageBlock):
        item = next(rest)
        # What was allowed need not be encoded again, if its bytes are its only source.
        own = isinstance(block.image, bytes) and block.path is None and block.url is None
        return block if own and item.image is item.original else _shown(item)
    if _is_image_document(block):
        return _shown(next(rest))
    if isinstance(block, BaseRecursiveContentBlock):
        inner = [_cleaned(part, rest) for part in block.nested_blocks]
        field = block.nested_blocks_field_name()
        single = not isinstance(getattr(block, field), list)
        return block.model_copy(update={field: inner[0] if single else inner})
    return block


def _shown(item: SanitizedImage) -> ImageBlock | TextBlock:
    if item.image is None:
        return TextBlock(text=BLOCKED_NOTE)
    file = io.BytesIO()
    item.image.to_pil().save(file, "PNG", compress_level=1)
    return ImageBlock(image=file.getvalue(), image_mimetype="image/png")
