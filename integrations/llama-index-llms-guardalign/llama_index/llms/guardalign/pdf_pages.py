"""PDF files in messages: each becomes blocks with the pictures of its pages, before the walk.

The walk then guards a page as any other image. A file that cannot be drawn stays where it is, with
its error, and the walk refuses it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llama_index.core.base.llms.types import (
    BaseRecursiveContentBlock,
    ChatMessage,
    DocumentBlock,
    TextBlock,
)
from llama_index.core.bridge.pydantic import PrivateAttr

from guardalign_middleware.errors import ImageRejected, MessageError
from guardalign_middleware.intake.containers import same_objects
from guardalign_middleware.intake.pdf_blocks import PdfFile, file_name, load_pdf_file, pdf_notice
from guardalign_middleware.intake.request import Room, check_message_count
from llama_index.llms.guardalign.images import PageBlock, Resolver
from llama_index.llms.guardalign.media_blocks import media_of

_NO_TITLE = "input_document"  # LlamaIndex's own.
_MAX_DEPTH = 64


class RefusedPdf(DocumentBlock):
    """A PDF file that cannot be drawn, and why."""

    _error: ImageRejected = PrivateAttr()

    @staticmethod
    def of(block: DocumentBlock, error: ImageRejected) -> RefusedPdf:
        """The same file with the error."""
        refused = RefusedPdf.model_construct(**dict(block))
        refused._error = error
        return refused

    @property
    def error(self) -> ImageRejected:
        """Why it cannot be drawn."""
        return self._error


def paged(
    messages: Iterable[ChatMessage],
    resolve: Resolver,
    measure: Callable[[Sequence[ChatMessage]], object],
) -> list[ChatMessage]:
    """Draw the pages of every PDF file in blocks of the messages, as `intake.pdf` says.

    Args:
        messages: stay unchanged; those without PDF files are returned themselves.
        resolve: has the policy, and fetches URLs.
        measure: is called with all messages before the first file is drawn; what it raises is
            raised.

    Raises:
        MessageError: there are too many messages, or blocks are nested too deeply.
        GuardError: no process can be started to draw the pages.
    """
    messages = list(messages)
    _check_depth(messages)
    if resolve.policy.pdf == "refuse":
        return messages
    check_message_count(len(messages), resolve.policy)
    # What is drawn here is measured afterwards. This bounds the drawing itself, newest files first.
    drawing = _Drawing(resolve, Room.unplanned(resolve.policy), cache(lambda: measure(messages)))
    paged_messages = []
    for index, message in reversed(list(enumerate(messages))):
        blocks = _paged(_blocks_of(message), f"messages[{index}].blocks", drawing)
        same = same_objects(blocks, _blocks_of(message))
        paged_messages.append(message if same else message.model_copy(update={"blocks": blocks}))
    return paged_messages[::-1]


@dataclass(frozen=True)
class _Drawing:
    """What drawing needs.

    Attributes:
        resolve: has the policy, and fetches URLs.
        room: of the request.
        measure: does its work once.
    """

    resolve: Resolver
    room: Room
    measure: Callable[[], object]


def _blocks_of(message: object) -> Sequence[Any]:
    # The walk refuses what is no message.
    return message.blocks if isinstance(message, ChatMessage) else []


def _check_depth(messages: Iterable[object]) -> None:
    """Refuse blocks that are nested so deeply that no walk gets to their end."""
    level: Sequence[Any] = [block for message in messages for block in _blocks_of(message)]
    for _ in range(_MAX_DEPTH):
        # A block that holds itself twice is walked once.
        nested = {id(b): b for b in level if isinstance(b, BaseRecursiveContentBlock)}
        level = [inner for block in nested.values() for inner in block.nested_blocks]
        if not level:
            return
    raise MessageError(f"A block is nested deeper than {_MAX_DEPTH} levels.", remedy="Flatten it.")


def _paged(blocks: Sequence[Any], place: str, drawing: _Drawing) -> list[Any]:
    return [new for block in blocks for new in _in_place_of(block, place, drawing)]


def _in_place_of(block: Any, place: str, drawing: _Drawing) -> list[Any]:
    if isinstance(block, BaseRecursiveContentBlock):
        field = block.nested_blocks_field_name()
        old = getattr(block, field)
        if isinstance(old, str):
            return [block]
        parts = old if isinstance(old, list | tuple) else [old]
        new = _paged(parts, place, drawing)
        if same_objects(new, parts):
            return [block]
        return [block.model_copy(update={field: new})]
    if not isinstance(block, DocumentBlock):
        return [block]
    file = _pdf_file(block, place)
    if file is None:
        return [block]
    if drawing.resolve.policy.pdf == "notice":
        return [TextBlock(text=pdf_notice(file))]
    drawing.measure()
    try:
        pages = drawing.room.read(
            block,
            place,
            lambda policy: load_pdf_file(file, place, policy, fetch=drawing.resolve.fetch),
        )
    except ImageRejected as error:
        return [RefusedPdf.of(block, error)]
    return [PageBlock.of(page) for page in pages]


def _pdf_file(block: DocumentBlock, place: str) -> PdfFile | None:
    media = media_of(block, place)
    if media.kind != "pdf":
        return None
    title = None if block.title == _NO_TITLE else block.title
    return PdfFile(media.data, media.named, title or file_name(media.named))
