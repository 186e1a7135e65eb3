"""LlamaIndex messages as the core's role/content mappings, and back with cleaned images.

A block that could carry an image past the guard and cannot be read is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    BaseRecursiveContentBlock,
    CacheControl,
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
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.containers import same_objects
from guardalign_middleware.intake.content_blocks import BlockReader
from guardalign_middleware.intake.found_images import in_order
from guardalign_middleware.intake.messages import ROLES, said_beside
from guardalign_middleware.intake.pdf import pdf_not_allowed
from guardalign_middleware.intake.picture_traces import picture_trace
from guardalign_middleware.intake.request import NOT_DECODED
from guardalign_middleware.replies import Dropped, Refused
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.sent_turns import digest_of
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.verdict_records import is_record_key
from llama_index.llms.guardalign.admission import Measurer
from llama_index.llms.guardalign.images import Found, in_block
from llama_index.llms.guardalign.loose_images import KEY, LooseImages
from llama_index.llms.guardalign.media_blocks import media_of
from llama_index.llms.guardalign.pdf_pages import RefusedPdf
from llama_index.llms.guardalign.visitors import as_shown

Part = dict[str, Any]
Resolve = Callable[[Found], CanonicalImage]
_ACCEPTED = "This model accepts text and images only."
Fate = Literal["text", "call", "nested", "picture", "dropped", "refused"]
# What the model gets to see of each kind of block. A subclass is what its base is; a block of
# another kind is dropped if nothing in it could be a picture, and refused otherwise.
_FATES: Mapping[type[BaseContentBlock], Fate] = {
    TextBlock: "text",
    ToolCallBlock: "call",
    BaseRecursiveContentBlock: "nested",
    ImageBlock: "picture",
    DocumentBlock: "picture",
    ThinkingBlock: "dropped",
    CachePoint: "dropped",
    CacheControl: "dropped",
    AudioBlock: "refused",
    VideoBlock: "refused",
}


Raises = Callable[[str, int], bool]
"""Whether a refusal goes to the user, by the block's digest and its message's position."""


def readable(
    messages: Sequence[ChatMessage], resolve: Resolve, raises: Raises
) -> tuple[list[ChatMessage], list[Refused]]:
    """Copy the messages with a notice in the place of each block that the model cannot be shown.

    Args:
        messages: the caller's, which stay unchanged.
        resolve: reads one image.
        raises: whether to raise the error instead.

    Returns:
        The messages, and which blocks were replaced, and why.

    Raises:
        MessageError, ImageRejected: as for `to_role_content`.
    """
    refused: list[Refused] = []
    copies = []
    for index, message in enumerate(messages):
        place = f"messages[{index}].blocks"

        def kept(block: Any, place: str = place, index: int = index) -> Any:
            try:
                _parts(block, place, resolve, [])
            except (MessageError, ImageRejected) as error:
                if raises(digest_of(block), index):
                    raise
                refused.append(Refused.by(error, place))
                return TextBlock(text=notices.refused(error, _what(block)))
            return block

        blocks = [kept(block) for block in message.blocks]
        extra = {key: v for key, v in message.additional_kwargs.items() if not is_record_key(key)}
        try:
            for found in _loose(message, index):
                resolve(found)
        except (MessageError, ImageRejected) as error:
            if raises(digest_of(extra.pop(KEY)), index):
                raise
            refused.append(Refused.by(error, place))
            blocks.append(TextBlock(text=notices.refused(error)))
        if len(extra) == len(message.additional_kwargs) and same_objects(blocks, message.blocks):
            copies.append(message)
        else:
            update = {"blocks": blocks, "additional_kwargs": extra}
            copies.append(message.model_copy(update=update))
    return copies, refused


def _what(block: object) -> str:
    names = {
        VideoBlock: "video",
        AudioBlock: "audio",
        RefusedPdf: notices.FILES["pdf"],
        DocumentBlock: "file",
    }
    return next((name for kind, name in names.items() if isinstance(block, kind)), "image")


def measure_message(measurer: Measurer, message: ChatMessage) -> None:
    """Show the measurer every image and every text that `to_role_content` would read."""
    place = f"messages[{measurer.turn}].blocks"

    def show(found: Found) -> CanonicalImage:
        measurer.picture(found)
        return NOT_DECODED

    def block_parts(block: object) -> None:
        for part in _parts(block, place, show, []):
            if part["type"] == "text":
                measurer.count_text(part["text"])

    for block in message.blocks:
        measurer.unit(partial(block_parts, block), None, block)
    measurer.unit(lambda: [show(found) for found in _loose(message, measurer.turn)], None, message)


def to_role_content(messages: Sequence[ChatMessage], resolve: Resolve) -> list[dict[str, Any]]:
    """Convert chat messages to the input of `GuardAlign.prepare`; the messages stay unchanged.

    Reads every image. Blocks without text and without an image are left out; a turn lists them
    under `dropped`.

    Args:
        messages: a conversation.
        resolve: reads one image.

    Raises:
        MessageError: an unknown role, or a block that could hold an image and cannot be read; the
            message names the place.
        ImageRejected: an image that the intake policy does not accept.
    """
    return [_turn(message, index, resolve) for index, message in enumerate(messages)]


def blocked_images(
    conversation: Sequence[Mapping[str, Any]], images: Sequence[SanitizedImage]
) -> list[tuple[int, str]]:
    """Position of the message, and digest, of each blocked image.

    Args:
        conversation: made by `to_role_content`.
        images: its images after the guard, in reading order.
    """
    turns = [
        index
        for index, turn in enumerate(conversation)
        for part in turn["content"]
        if part["type"] == "image"
    ]
    return [
        (turn, item.original.sha256)
        for turn, item in zip(turns, images, strict=True)
        if item.image is None
    ]


def cleaned_messages(
    messages: Sequence[ChatMessage], images: Sequence[SanitizedImage]
) -> list[ChatMessage]:
    """Copy the messages with cleaned images; a message without images is returned itself.

    Args:
        messages: the caller's, which stay unchanged.
        images: their images after the guard, in reading order.

    Raises:
        GuardError: stage `intake`; the messages hold more or fewer images.
    """
    with in_order(images) as following:
        return [_cleaned_message(message, following) for message in messages]


def _turn(message: ChatMessage, index: int, resolve: Resolve) -> dict[str, Any]:
    role = ROLES.get(message.role.value)
    if role is None:
        raise MessageError(f"messages[{index}] has the unknown role {message.role.value!r}.")
    place, dropped = f"messages[{index}].blocks", list[Dropped]()
    parts = [part for block in message.blocks for part in _parts(block, place, resolve, dropped)]
    parts += [_part(found, resolve) for found in _loose(message, index)]
    extra = message.additional_kwargs
    if role == "assistant":
        said = said_beside(extra)
        if said is not None and not any(part.get("text", "image") for part in parts):
            parts = [_text(said)]
        # Where older integrations keep the calls that others write as blocks.
        if extra.get("tool_calls") and not any(
            isinstance(b, ToolCallBlock) for b in message.blocks
        ):
            dropped.append(Dropped("tool_calls", f"messages[{index}].additional_kwargs.tool_calls"))
    turn: dict[str, Any] = {"role": role, "content": parts or [_text("")]}
    return {**turn, "dropped": dropped} if dropped else turn


def _parts(block: object, place: str, resolve: Resolve, dropped: list[Dropped]) -> list[Part]:
    fate = next((fate for kind, fate in _FATES.items() if isinstance(block, kind)), None)
    if fate == "text":
        assert isinstance(block, TextBlock)
        return [_text(block.text)]
    if fate == "call":
        assert isinstance(block, ToolCallBlock)
        called = block.tool_kwargs
        text = called if isinstance(called, str) else _json(called, place)
        return [_text(f"[called {block.tool_name} with {text}]")]
    if fate == "nested":
        assert isinstance(block, BaseRecursiveContentBlock)
        inner = block.nested_blocks
        parts = [part for each in inner for part in _parts(each, place, resolve, dropped)]
        if isinstance(block, ChatMessage):
            found_beside = LooseImages.of(block, place).all_found()
            parts += [_part(found, resolve) for found in found_beside]
        return parts
    if fate == "picture" and (found := in_block(block, place)) is not None:
        return [_part(found, resolve)]
    if isinstance(block, RefusedPdf):
        raise block.error
    if isinstance(block, DocumentBlock):
        media = media_of(block, place)
        if media.found is not None:
            return [_part(media.found, resolve)]
        if media.kind == "text" and media.data is not None:
            return [_text(media.data.decode("utf-8", "replace"))]
        if media.kind == "pdf":
            raise pdf_not_allowed(place)
    reason = ""
    if isinstance(block, BaseContentBlock) and fate in {"dropped", None}:
        kind = getattr(block, "block_type", type(block).__name__)
        if fate is None:
            # By the rules of the core for blocks of unknown kinds.
            reader: BlockReader[Part] = BlockReader(lambda _, __: None, _text, _ACCEPTED)
            parts = reader.read({**dict(block), "type": kind}, place)
            dropped += reader.dropped
            return parts
        trace = picture_trace(dict(block), "known", place)
        if trace is None:
            dropped.append(Dropped(kind, place))
            return []
        reason = f": {trace}"
    raise MessageError(f"{place} holds a {type(block).__name__}{reason}.", remedy=_ACCEPTED)


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


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


def _loose(message: ChatMessage, index: int | None) -> list[Found]:
    return LooseImages.of(message, f"messages[{index}]").all_found()


def _cleaned_message(message: ChatMessage, following: Callable[[], SanitizedImage]) -> ChatMessage:
    blocks = [_cleaned(block, following) for block in message.blocks]
    blocks += [as_shown(following()) for _ in _loose(message, None)]
    if KEY not in message.additional_kwargs and same_objects(blocks, message.blocks):
        return message
    extra = {key: value for key, value in message.additional_kwargs.items() if key != KEY}
    # Not through the constructor, which reads everything under the key.
    return message.model_copy(update={"blocks": blocks, "additional_kwargs": extra})


def _cleaned(block: Any, following: Callable[[], SanitizedImage]) -> Any:
    if isinstance(block, ImageBlock):
        item = following()
        # An allowed image need not be encoded again if its bytes are its only source.
        own = isinstance(block.image, bytes) and block.path is None and block.url is None
        same = item.image is item.original and item.verdict.scaled_from is None
        keep = own and same
        return block if keep else as_shown(item, block.detail)
    if isinstance(block, DocumentBlock) and media_of(block, "").found is not None:
        return as_shown(following())
    if isinstance(block, ChatMessage):
        return _cleaned_message(block, following)
    if isinstance(block, BaseRecursiveContentBlock):
        inner = [_cleaned(part, following) for part in block.nested_blocks]
        if same_objects(inner, block.nested_blocks):
            return block
        field = block.nested_blocks_field_name()
        single = not isinstance(getattr(block, field), list)
        return block.model_copy(update={field: inner[0] if single else inner})
    return block
