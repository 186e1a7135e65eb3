"""What a message says, in the words that a model reads; nothing is decoded or refused."""

from __future__ import annotations

import re

from guardalign_middleware.intake.base64_runs import LINE_BREAK, PADDING, PLAIN, UNIT
from guardalign_middleware.intake.block_kinds import kind_of
from guardalign_middleware.intake.content_blocks import Block, BlockReader
from guardalign_middleware.intake.part import block_type

_LINES = rf"(?:(?:{UNIT}){{40,200}}+{LINE_BREAK.pattern}){{5,}}+"
_LAST_LINE = rf"(?:(?:{UNIT}){{1,200}}+(?={PADDING.pattern}|{LINE_BREAK.pattern}|\s*\Z))?"
_DATA = re.compile(
    rf"(?:data:[^\s,]{{0,80}},)?(?<!{PLAIN})(?:(?:{UNIT}){{256,}}+|{_LINES}{_LAST_LINE})"
    rf"(?:{PADDING.pattern}){{0,2}}",
    re.IGNORECASE,
)
"""Base64, perhaps in a data URL, of more bytes than a word or a name has characters."""
_OF_BASE64 = tuple(map(re.compile, ("[a-z]", "[A-Z]", "[0-9]")))


def words_of(text: str) -> str:
    """A text without the base64 in it: a guard of texts takes long to read it, for nothing."""
    return _DATA.sub(lambda run: "" if _is_base64(run.group()) else run.group(), text)


def _is_base64(run: str) -> bool:
    # Letters alone may be words that have lost their spaces.
    return all(characters.search(run) for characters in _OF_BASE64)


def said_in(content: object) -> str:
    """The texts of a message's content, each on a line of its own, without base64.

    Args:
        content: a text, a block of any dialect, or a list of them. What holds no text, or cannot
            be read, says nothing.
    """
    if isinstance(content, str):
        return words_of(content)
    reader: BlockReader[str] = BlockReader(_picture, str, "", refused=lambda *_: "")
    return words_of("\n".join(filter(None, reader.read(content, "content"))))


def _picture(block: Block, place: str) -> list[str] | None:
    kind = kind_of(block_type(block))
    return [] if kind is not None and kind.fate == "picture" else None
