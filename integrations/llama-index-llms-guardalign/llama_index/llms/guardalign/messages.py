"""LlamaIndex messages to GuardAlign's role/content mappings, and cleaned ones back.

A block that is not known raises: it could carry an image past the guard.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseRecursiveContentBlock,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from guardalign_middleware import notices
from guardalign_middleware.errors import MessageError
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import CanonicalImage
from llama_index.llms.guardalign.images import (
    Found,
    in_anything,
    in_block,
    is_image_document,
    png_bytes,
)

Part = dict[str, Any]
Resolve = Callable[[Found], CanonicalImage]
UNSCANNED_REMEDY = (
    "Turn its pages or frames into images, or set allow_unscanned=True to send it unseen."
)
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


def to_role_content(messages: Sequence[ChatMessage], resolve: Resolve) -> list[dict[str, Any]]:
    """Turn chat messages into what `GuardAlign.prepare` takes; the messages are not changed.

    A system message that says nothing is left out.

    Args:
        messages: in any role; all their images are read.
        resolve: reads one image.

    Raises:
        MessageError: a role or block that is not known; the message names the place.
        ImageRejected: an image that cannot or may not be read.
    """
    content = []
    for index, message in enumerate(messages):
        role = _ROLES.get(message.role.value)
        if role is None:
            raise MessageError(f"messages[{index}] has the unknown role {message.role.value!r}.")
        place = f"messages[{index}].blocks"
        parts = [part for block in message.blocks for part in _parts(block, place, resolve)]
        parts += [_part(found, resolve) for found in _loose(message, place)]
        if role == "system" and not any(part.get("text", part["type"]) for part in parts):
            continue  # chat engines write one where they have no system prompt
        content.append({"role": role, "content": parts or [{"type": "text", "text": ""}]})
    return content


def find_images(messages: Sequence[ChatMessage]) -> tuple[list[Found], int]:
    """All images of a conversation in reading order, none of them read yet.

    Returns:
        The images, and how many blocks there are that can show pictures no guard can see: videos
        and documents.

    Raises:
        MessageError: a block that is not known.
        ImageRejected: bytes that are not base64, as LlamaIndex keeps them.
    """
    images: list[Found] = []
    unseen = 0
    for index, message in enumerate(messages):
        place = f"messages[{index}].blocks"
        for block in _leaves(message.blocks):
            found = in_block(block, place)
            if found is not None:
                images.append(found)
            elif isinstance(block, VideoBlock | DocumentBlock):
                unseen += 1
            elif not isinstance(
                block, TextBlock | AudioBlock | ThinkingBlock | ToolCallBlock | CachePoint
            ):
                raise MessageError(
                    f"{place} holds a {type(block).__name__}.",
                    remedy="The guard does not know whether it shows a picture: leave it out.",
                )
        images += _loose(message, place)
    return images, unseen


def image_blocks(documents: Sequence[object]) -> list[ImageBlock]:
    """The `image_documents` of a completion as blocks, none of them read yet.

    Raises:
        MessageError: something that carries no image.
        ImageRejected: bytes that are not base64, as LlamaIndex keeps them.
    """
    return [
        _unread(in_anything(item, f"image_documents[{index}]"))
        for index, item in enumerate(documents)
    ]


def given_images(formatted: object, image_documents: Sequence[Any] | None) -> Sequence[Any]:
    """The images of a completion; `MultiModalLLM` has them in the place of `formatted`."""
    if image_documents is not None:
        return image_documents
    return formatted if isinstance(formatted, list | tuple) else ()


def cleaned_messages(
    messages: Sequence[ChatMessage], images: Sequence[SanitizedImage], *, encode_all: bool = False
) -> list[ChatMessage]:
    """Copies in which every image is the cleaned one; a message without images is itself.

    Args:
        messages: what the caller gave; not changed.
        images: what the guard made of their images, in reading order.
        encode_all: whether also the images that were allowed are written anew from the scanned
            pixels. Needed where somebody else decodes them, who may see other pixels in the same
            bytes (below transparency, in another frame).
    """
    if not images:
        return list(messages)
    rest = iter(images)
    copies = []
    for index, message in enumerate(messages):
        blocks = [_cleaned(block, rest, encode_all) for block in message.blocks]
        blocks += [_shown(next(rest)) for _ in _loose(message, f"messages[{index}].blocks")]
        if "images" not in message.additional_kwargs and all(map(_same, blocks, message.blocks)):
            copies.append(message)
            continue
        extra = {key: value for key, value in message.additional_kwargs.items() if key != "images"}
        # Not through the constructor: it reads whatever it finds under "images".
        copies.append(message.model_copy(update={"blocks": blocks, "additional_kwargs": extra}))
    return copies


def _parts(block: object, place: str, resolve: Resolve) -> list[Part]:
    if isinstance(block, TextBlock):
        return [{"type": "text", "text": block.text}]
    if isinstance(block, ThinkingBlock | CachePoint):
        return []  # no model is shown these again
    if isinstance(block, ToolCallBlock):
        called = block.tool_kwargs
        text = called if isinstance(called, str) else _json(called, place)
        return [{"type": "text", "text": f"[called {block.tool_name} with {text}]"}]
    if isinstance(block, BaseRecursiveContentBlock):
        return [part for inner in block.nested_blocks for part in _parts(inner, place, resolve)]
    found = in_block(block, place)
    if found is not None:
        return [_part(found, resolve)]
    raise MessageError(
        f"{place} holds a {type(block).__name__}.",
        remedy="Only text and images can be shown to this model.",
    )


def _json(called: object, place: str) -> str:
    try:
        return json.dumps(called)
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(
            f"{place} holds a tool call whose arguments are no JSON.",
            remedy="Give tool calls strings, numbers, lists and mappings only.",
        ) from error


def _part(found: Found, resolve: Resolve) -> Part:
    return {"type": "image", "image": resolve(found)}


def _leaves(blocks: Sequence[Any]) -> Iterator[object]:
    for block in blocks:
        if isinstance(block, BaseRecursiveContentBlock):
            yield from _leaves(block.nested_blocks)
        else:
            yield block


def _loose(message: ChatMessage, place: str) -> list[Found]:
    """Images where older programs put them, without those that stand among the blocks as well.

    A message that was made with them holds each twice.
    """
    items = message.additional_kwargs.get("images") or []
    if not items:
        return []
    if not isinstance(items, list | tuple):
        raise MessageError(
            f'additional_kwargs["images"] should be a list. Received {type(items).__name__}.'
        )
    own = [found for block in _leaves(message.blocks) if (found := in_block(block, place))]
    known = {found.data for found in own if found.data is not None}
    loose = [in_anything(item, f'{place} (additional_kwargs["images"])') for item in items]
    return [found for found in loose if found.data is None or found.data not in known]


def _unread(found: Found) -> ImageBlock:
    if found.data is not None:
        return ImageBlock(image=found.data)
    # Not validated, for that would ask whether the file exists before anybody allowed it.
    path = None if found.path is None else Path(found.path)
    return ImageBlock.model_construct(path=path, url=found.url)


def _same(first: object, second: object) -> bool:
    return first is second


def _cleaned(block: Any, rest: Iterator[SanitizedImage], encode_all: bool) -> Any:
    if isinstance(block, ImageBlock):
        item = next(rest)
        # What was allowed need not be encoded again, if its bytes are its only source.
        own = isinstance(block.image, bytes) and block.path is None and block.url is None
        keep = own and not encode_all and item.image is item.original
        return block if keep else _shown(item, block.detail)
    if is_image_document(block):
        return _shown(next(rest))
    if isinstance(block, BaseRecursiveContentBlock):
        inner = [_cleaned(part, rest, encode_all) for part in block.nested_blocks]
        if all(map(_same, inner, block.nested_blocks)):
            return block
        field = block.nested_blocks_field_name()
        single = not isinstance(getattr(block, field), list)
        return block.model_copy(update={field: inner[0] if single else inner})
    return block


def _shown(item: SanitizedImage, detail: str | None = None) -> ImageBlock | TextBlock:
    if item.image is None:
        return TextBlock(text=notices.UNSAFE)
    return _block(item.image, detail)


def _block(image: CanonicalImage, detail: str | None = None) -> ImageBlock:
    return ImageBlock(image=png_bytes(image), image_mimetype="image/png", detail=detail)
