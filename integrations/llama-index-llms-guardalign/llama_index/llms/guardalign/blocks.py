"""A walk over messages and their blocks: what a block declares decides what becomes of it.

| block | what happens |
| --- | --- |
| text, reasoning, titles, tools' arguments | words: only a complete, unsafe picture changes |
| image, document of an image type | guarded |
| audio | passes; refused if its bytes are a picture, a film or a PDF file |
| document of a text type | words |
| video, any other document | refused, or counted as unscanned; a picture in disguise is guarded |
| block of an unknown kind | passes if nothing in it could be a picture or lead to one |

Every other value of a block or a message is walked as well, whatever its key.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    BaseRecursiveContentBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.schema import BaseNode, NodeWithScore

from guardalign_middleware import notices
from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.containers import same_objects
from guardalign_middleware.intake.declared import Declared
from guardalign_middleware.intake.part import load_picture
from guardalign_middleware.intake.pdf import pdf_not_allowed
from guardalign_middleware.intake.picture_traces import picture_trace
from guardalign_middleware.intake.walk_modes import field_modes
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.verdict_records import is_record_key
from llama_index.llms.guardalign.images import Found, Resolver, in_anything, in_block
from llama_index.llms.guardalign.loose_images import KEY, LooseImages
from llama_index.llms.guardalign.media_blocks import MediaBlock, media_of
from llama_index.llms.guardalign.pdf_pages import RefusedPdf
from llama_index.llms.guardalign.provider_content import UNSCANNED_REMEDY, ProviderContent
from llama_index.llms.guardalign.values import ValueWalk, same_values
from llama_index.llms.guardalign.visitors import Visitor, as_shown

_WORDS: tuple[tuple[type[BaseContentBlock], tuple[str, ...]], ...] = (
    (TextBlock, ("text",)),
    (ThinkingBlock, ("content", "additional_information")),
    (CitableBlock, ("title", "source")),
    (CitationBlock, ("title", "source", "additional_location_info")),
    (DocumentBlock, ("title",)),
)
_KNOWN = (
    TextBlock, ImageBlock, AudioBlock, VideoBlock, DocumentBlock, CacheControl, CachePoint,
    CitableBlock, CitationBlock, ThinkingBlock, ToolCallBlock, ChatMessage,
)  # fmt: skip
_READ = {
    AudioBlock: {"audio", "path", "url", "format"},
    VideoBlock: {"video", "path", "url", "video_mimetype", "detail", "fps"},
    DocumentBlock: {"data", "path", "url", "document_mimetype"},
}
"""Fields that the walk reads by their meaning; all others are walked as values."""

_NAMES = {
    AudioBlock: "file",
    VideoBlock: "video",
    RefusedPdf: notices.FILES["pdf"],
    DocumentBlock: "file",
}
"""What a notice calls a block; all others are images."""

_EXTRA = "additional_kwargs"
_UNKNOWN = "Leave it out: the guard cannot know whether it shows a picture."


class MessageWalk:
    """Walks through a conversation; the caller's messages stay unchanged.

    Args:
        visitor: reads or shows the pictures.
        resolve: what the reader of pictures accepts.
        allow_unscanned: whether films and files pass.
    """

    def __init__(self, visitor: Visitor, resolve: Resolver, *, allow_unscanned: bool) -> None:
        self._visitor = visitor
        self._resolve = resolve
        self._allow_unscanned = allow_unscanned

    def message(self, message: ChatMessage, index: int) -> ChatMessage:
        """The message itself, or a copy with cleaned pictures and without the guard's records."""
        place = f"messages[{index}]"
        blocks = [self.block(block, f"{place}.blocks") for block in message.blocks]
        extra = dict(message.additional_kwargs)
        blocks += self._loose(LooseImages.of(message, place))
        extra.pop(KEY, None)
        for key, value in message.additional_kwargs.items():
            if is_record_key(key):
                del extra[key]
            elif key != KEY:
                spot = f'{place}.additional_kwargs["{key}"]'
                extra[key] = self._content(value, spot, key)
        update: dict[str, Any] = self._others(message, place, {"role", "blocks", _EXTRA})
        if not same_objects(blocks, message.blocks):
            update["blocks"] = blocks
        if not same_values(extra, message.additional_kwargs):
            update[_EXTRA] = extra
        # Not through the constructor, which reads everything under "images".
        return message.model_copy(update=update) if update else message

    def block(self, block: Any, place: str) -> Any:
        """The block itself, a cleaned copy, or a text block with the notice."""
        if isinstance(block, ChatMessage):
            return self.message(block, 0)
        if isinstance(block, ToolCallBlock):
            return self._tool_call(block, place)
        if isinstance(block, BaseRecursiveContentBlock):
            return self._nested(block, place)
        return self._visitor.unit(
            lambda: self._leaf(block, place),
            lambda notice: TextBlock(text=notice),
            block,
            next((name for kind, name in _NAMES.items() if isinstance(block, kind)), "image"),
        )

    def typed(self, value: Any, place: str) -> Any:
        """LlamaIndex's own objects inside other values; NotImplemented for everything else."""
        if isinstance(value, BaseContentBlock):
            return self.block(value, place)
        if isinstance(value, BaseNode | NodeWithScore):
            found = in_anything(value, place) if _shows(value) else None
            if found is not None:
                return _shown(self._visitor.picture(found), value)
        return NotImplemented

    def _leaf(self, block: Any, place: str) -> Any:
        if isinstance(block, RefusedPdf):
            raise block.error
        if isinstance(block, ImageBlock):
            found = in_block(block, place)
            assert found is not None
            # Not a copy: what a subclass adds to the block stays behind.
            return _shown(self._visitor.picture(found), block, block.detail)
        if isinstance(block, AudioBlock | VideoBlock | DocumentBlock):
            return self._media(block, place)
        if not isinstance(block, BaseContentBlock):
            if isinstance(block, Mapping | str):
                return self._content_of(block, place, "blocks")
            raise MessageError(f"{place} holds a {type(block).__name__}.", remedy=_UNKNOWN)
        if isinstance(block, CachePoint | CacheControl) or not isinstance(block, _KNOWN):
            depth = "known" if isinstance(block, _KNOWN) else "unknown"
            fields = {**dict(block), **(block.model_extra or {})}
            fields |= block.__pydantic_private__ or {}
            trace = picture_trace(fields, depth, place)  # type: ignore[arg-type]
            if trace is not None:
                raise MessageError(
                    f"{place} holds a {type(block).__name__}: {trace}.", remedy=_UNKNOWN
                )
        update = self._others(block, place, set())
        return _copied(block, update) if update else block

    def _media(self, block: MediaBlock, place: str) -> Any:
        media = media_of(block, place)
        if isinstance(block, AudioBlock):
            picture = media.kind == "image" and self._is_picture(media.found)
            if picture or media.kind not in {"audio", "image"}:
                what = "an image" if picture else "a film or a PDF file"
                raise ImageRejected(
                    f"{place} holds {what} that is declared as audio.",
                    reason="unsupported_type",
                    source=place,
                    remedy="Pass it as a block of its own kind, such as an ImageBlock.",
                )
        elif media.found is not None:
            return _shown(self._visitor.picture(media.found), block)
        elif media.kind == "text" and media.data is not None and _is_text(media.data):
            update = self._others(block, place, _READ[DocumentBlock])
            text = media.data.decode("latin-1")
            if (new := self._visitor.words(text)) is not text:
                update |= {"data": base64.b64encode(new.encode("latin-1")), "url": None}
            return _copied(block, update) if update else block
        elif media.data is not None or media.named is not None:
            if not self._allow_unscanned:
                if media.kind == "pdf":
                    raise pdf_not_allowed(
                        place, otherwise="set allow_unscanned=True to send it unscanned"
                    )
                kind = "video" if media.kind == "video" else "document"
                raise MessageError(
                    f"{place} holds a {kind}, whose pictures the guard cannot scan.",
                    remedy=UNSCANNED_REMEDY,
                )
            self._visitor.unscanned()
        update = self._others(block, place, _READ[_base(block)])
        return _copied(block, update) if update else block

    def _is_picture(self, found: Found | None) -> bool:
        """Whether what begins like a picture is one; sound may begin like anything."""
        if found is None or found.data is None:
            return True
        try:
            part = {"type": "image", "image": base64.b64decode(found.data)}
            load_picture(part, found.place, self._resolve.policy)
        except ImageRejected as error:
            return error.reason not in {"corrupt", "unknown_format"}
        return True

    def _nested(self, block: BaseRecursiveContentBlock, place: str) -> Any:
        field = block.nested_blocks_field_name()
        old = getattr(block, field)
        update = self._others(block, place, {field})
        if isinstance(old, str):
            if (new := self._visitor.words(old)) is not old:
                update[field] = new
        else:
            parts = old if isinstance(old, list | tuple) else [old]
            inner = [self.block(part, place) for part in parts]
            if not same_objects(inner, parts):
                update[field] = inner if isinstance(old, list | tuple) else inner[0]
        return _copied(block, update) if update else block

    def _tool_call(self, block: ToolCallBlock, place: str) -> Any:
        old = block.tool_kwargs
        # Without its call, the tool's answer would be an error at most providers.
        new = self._visitor.unit(
            lambda: ValueWalk(self._visitor, place, typed=self.typed).walk(old),
            lambda notice: {"notice": notice},
            old,
        )
        update = self._others(block, place, {"tool_kwargs"})
        if new is not old:
            update["tool_kwargs"] = new
        return _copied(block, update) if update else block

    def _others(self, block: Any, place: str, read: set[str]) -> dict[str, Any]:
        """Changes in the fields that have no meaning of their own here, private ones included."""
        update = {}
        held = {**block.__dict__, **(block.model_extra or {}), **(block.__pydantic_private__ or {})}
        for name, value in held.items():
            if name in read or isinstance(value, bool | int | float | None):
                continue
            if isinstance(value, str):
                new: Any = self._visitor.words(value)
            elif any(name in names and isinstance(block, kind) for kind, names in _WORDS):
                new = ValueWalk(self._visitor, place, typed=self.typed).walk(value)
            else:
                new = self._content_of(value, place, name)
            if new is not value:
                update[name] = new
        return update

    def _content(self, value: Any, place: str, key: str) -> Any:
        if isinstance(value, bool | int | float | None):
            return value
        return self._visitor.unit(
            lambda: self._content_of(value, place, key), lambda notice: notice, value
        )

    def _content_of(self, value: Any, place: str, key: object) -> Any:
        content = ProviderContent(
            self._visitor,
            place,
            allow_unscanned=self._allow_unscanned,
            allow_pdf=self._allow_unscanned and self._resolve.policy.pdf == "refuse",
        )
        walk = ValueWalk(
            self._visitor,
            place,
            text=content.text,
            mapping=content.mapping,
            typed=self.typed,
            strict=True,
        )
        return walk.walk(value, key, field_modes({}, None, "beside")(key, value))

    def _loose(self, loose: LooseImages) -> list[Any]:
        def shown(item: Any) -> Any:
            found = loose.found(item)
            return None if found is None else _shown(self._visitor.picture(found), item)

        blocks = [
            self._visitor.unit(
                lambda item=item: shown(item),
                lambda notice: TextBlock(text=notice),
                item,
            )
            for item in loose.items
        ]
        return [block for block in blocks if block is not None]


def _shown(item: SanitizedImage | None, block: Any, detail: str | None = None) -> Any:
    return block if item is None else as_shown(item, detail)


def _shows(value: BaseNode | NodeWithScore) -> bool:
    try:
        in_anything(value, "")
    except MessageError:
        return False
    return True


def _base(block: MediaBlock) -> type[BaseContentBlock]:
    return next(kind for kind in (AudioBlock, VideoBlock, DocumentBlock) if isinstance(block, kind))


def _is_text(data: bytes) -> bool:
    return not Declared("text", (data,)).holds_pages()


def _copied(block: Any, update: Mapping[str, Any]) -> Any:
    copied = block.model_copy(update=dict(update))
    for name in set(update) & set(copied.__pydantic_private__ or {}):
        copied.__pydantic_private__[name] = update[name]
        copied.__dict__.pop(name, None)
    return copied
