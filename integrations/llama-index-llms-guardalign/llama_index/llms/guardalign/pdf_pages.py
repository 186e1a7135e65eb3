"""PDF files in messages: each becomes blocks with the pictures of its pages, before the walk.

The walk then guards a page as any other image. A file that cannot be drawn stays where it is, with
its error, and the walk refuses it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    BaseRecursiveContentBlock,
    ChatMessage,
    DocumentBlock,
    TextBlock,
)
from llama_index.core.bridge.pydantic import PrivateAttr

from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.containers import same_objects
from guardalign_middleware.intake.pdf_blocks import PdfFile, file_name, load_pdf_file, pdf_notice
from guardalign_middleware.intake.request import Room, check_message_count
from llama_index.llms.guardalign.images import PageBlock, Resolver
from llama_index.llms.guardalign.media_blocks import media_of

_NO_TITLE = "input_document"  # LlamaIndex's own.


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


def paged(messages: Iterable[ChatMessage], resolve: Resolver) -> list[ChatMessage]:
    """Draw the pages of every PDF file in blocks of the messages, as `intake.pdf` says.

    Args:
        messages: stay unchanged; those without PDF files are returned themselves.
        resolve: has the policy, and fetches URLs.

    Raises:
        GuardError: no process can be started to draw the pages.
    """
    messages = list(messages)
    if resolve.policy.pdf == "refuse":
        return messages
    check_message_count(len(messages), resolve.policy)
    # What is drawn here is measured afterwards. This bounds the drawing itself, newest files first.
    room = Room.unplanned(resolve.policy)
    paged_messages = []
    for index, message in reversed(list(enumerate(messages))):
        # The walk refuses what is no message.
        old = message.blocks if isinstance(message, ChatMessage) else []
        blocks = _paged(old, f"messages[{index}].blocks", resolve, room)
        same = same_objects(blocks, old)
        paged_messages.append(message if same else message.model_copy(update={"blocks": blocks}))
    return paged_messages[::-1]


def _paged(blocks: Sequence[Any], place: str, resolve: Resolver, room: Room) -> list[Any]:
    return [new for block in blocks for new in _in_place_of(block, place, resolve, room)]


def _in_place_of(block: Any, place: str, resolve: Resolver, room: Room) -> list[Any]:
    if isinstance(block, BaseRecursiveContentBlock):
        field = block.nested_blocks_field_name()
        old = getattr(block, field)
        if isinstance(old, str):
            return [block]
        parts = old if isinstance(old, list | tuple) else [old]
        new = _paged(parts, place, resolve, room)
        if same_objects(new, parts):
            return [block]
        return [block.model_copy(update={field: new})]
    if not isinstance(block, DocumentBlock):
        return [block]
    file = _pdf_file(block, place)
    if file is None:
        return [block]
    if resolve.policy.pdf == "notice":
        return [TextBlock(text=pdf_notice(file))]
    try:
        pages = room.read(
            block,
            place,
            lambda policy: load_pdf_file(file, place, policy, fetch=resolve.fetch),
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
