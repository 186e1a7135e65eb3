"""What a message says, in the words that a model reads; nothing is decoded or refused."""

from __future__ import annotations

from guardalign_middleware.intake.block_kinds import kind_of
from guardalign_middleware.intake.content_blocks import Block, BlockReader
from guardalign_middleware.intake.part import block_type


def said_in(content: object) -> str:
    """The texts of a message's content, each on a line of its own.

    Args:
        content: a text, a block of any dialect, or a list of them. What holds no text, or cannot
            be read, says nothing.
    """
    if isinstance(content, str):
        return content
    reader: BlockReader[str] = BlockReader(_picture, str, "", refused=lambda *_: "")
    return "\n".join(filter(None, reader.read(content, "content")))


def _picture(block: Block, place: str) -> list[str] | None:
    kind = kind_of(block_type(block))
    return [] if kind is not None and kind.fate == "picture" else None
