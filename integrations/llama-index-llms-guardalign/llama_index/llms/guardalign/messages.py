"""LlamaIndex messages as the core's role/content mappings, and back with cleaned images.

An unknown block raises: it could carry an image past the guard.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from operator import is_
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
from guardalign_middleware.encode import png_bytes
from guardalign_middleware.errors import MessageError
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import CanonicalImage
from llama_index.llms.guardalign.images import (
    Found,
    as_block,
    in_anything,
    in_block,
    is_image_document,
)

Part = dict[str, Any]
Resolve = Callable[[Found], CanonicalImage]
UNSCANNED_REMEDY = (
    "Convert its pages or frames to images, or set allow_unscanned=True to send it unscanned."
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
    """Convert chat messages to the input of `GuardAlign.prepare`; the messages stay unchanged.

    Reads every image. Leaves out empty system messages.

    Args:
        messages: a conversation.
        resolve: reads one image.

    Raises:
        MessageError: an unknown role or block; the message names the place.
        ImageRejected: an image that the intake policy does not accept.
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
            continue  # Chat engines without a system prompt send an empty one.
        content.append({"role": role, "content": parts or [{"type": "text", "text": ""}]})
    return content


def find_images(messages: Sequence[ChatMessage]) -> tuple[list[Found], int]:
    """Find every image of a conversation, in reading order, without reading it.

    Returns:
        The images, and the number of videos and documents, whose pictures the guard cannot scan.

    Raises:
        MessageError: an unknown block.
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
                    remedy="Leave it out: the guard cannot know whether it shows a picture.",
                )
        images += _loose(message, place)
    return images, unseen


def image_blocks(documents: Sequence[object]) -> list[ImageBlock]:
    """The `image_documents` of a completion as blocks, without reading them.

    Raises:
        MessageError: an object that carries no image.
    """
    return [
        as_block(in_anything(item, f"image_documents[{index}]"))
        for index, item in enumerate(documents)
    ]


def given_images(formatted: object, image_documents: Sequence[Any] | None) -> Sequence[Any]:
    """The images of a completion; `MultiModalLLM` passes them in the place of `formatted`."""
    if image_documents is not None:
        return image_documents
    return formatted if isinstance(formatted, list | tuple) else ()


def cleaned_messages(
    messages: Sequence[ChatMessage], images: Sequence[SanitizedImage], *, encode_all: bool = False
) -> list[ChatMessage]:
    """Copy the messages with cleaned images; a message without images is returned itself.

    Args:
        messages: the caller's, which stay unchanged.
        images: their images after the guard, in reading order.
        encode_all: whether to encode allowed images anew from the scanned pixels. Needed where
            another decoder could get other pixels from the same bytes, as under transparency.
    """
    if not images:
        return list(messages)
    rest = iter(images)
    copies = []
    for index, message in enumerate(messages):
        blocks = [_cleaned(block, rest, encode_all) for block in message.blocks]
        blocks += [_shown(next(rest)) for _ in _loose(message, f"messages[{index}].blocks")]
        if "images" not in message.additional_kwargs and all(map(is_, blocks, message.blocks)):
            copies.append(message)
            continue
        extra = {key: value for key, value in message.additional_kwargs.items() if key != "images"}
        # Not through the constructor, which reads everything under "images".
        copies.append(message.model_copy(update={"blocks": blocks, "additional_kwargs": extra}))
    return copies


def _parts(block: object, place: str, resolve: Resolve) -> list[Part]:
    if isinstance(block, TextBlock):
        return [{"type": "text", "text": block.text}]
    if isinstance(block, ThinkingBlock | CachePoint):
        return []  # These are never shown to a model again.
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
        remedy="This model accepts text and images only.",
    )


def _json(called: object, place: str) -> str:
    try:
        return json.dumps(called)
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(
            f"{place} holds a tool call whose arguments are not JSON.",
            remedy="Use strings, numbers, lists and mappings only.",
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
    """The images in `additional_kwargs`, where older programs put them.

    A message constructed with them also has a block for each; those are left out here.
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


def _cleaned(block: Any, rest: Iterator[SanitizedImage], encode_all: bool) -> Any:
    if isinstance(block, ImageBlock):
        item = next(rest)
        # An allowed image need not be encoded again if its bytes are its only source.
        own = isinstance(block.image, bytes) and block.path is None and block.url is None
        keep = own and not encode_all and item.image is item.original
        return block if keep else _shown(item, block.detail)
    if is_image_document(block):
        return _shown(next(rest))
    if isinstance(block, BaseRecursiveContentBlock):
        inner = [_cleaned(part, rest, encode_all) for part in block.nested_blocks]
        if all(map(is_, inner, block.nested_blocks)):
            return block
        field = block.nested_blocks_field_name()
        single = not isinstance(getattr(block, field), list)
        return block.model_copy(update={field: inner[0] if single else inner})
    return block


def _shown(item: SanitizedImage, detail: str | None = None) -> ImageBlock | TextBlock:
    if item.image is None:
        return TextBlock(text=notices.UNSAFE)
    return ImageBlock(image=png_bytes(item.image), image_mimetype="image/png", detail=detail)
