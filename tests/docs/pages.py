"""The pages of the repository, and the blocks of code on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    sorted(
        path.relative_to(ROOT).as_posix()
        for pattern in (
            "*.md",
            "docs/**/*.md",
            "examples/*.md",
            "integrations/*/*.md",
            "packaging/*/*.md",
        )
        for path in ROOT.glob(pattern)
    )
)
_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$", re.S | re.M
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its page, a path in the repository.
        line: of its first fence, from 1.
        language: as named on the fence.
        code: what is between the fences, without the indentation of a list.
    """

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    text = text_of(page)
    return [
        Block(
            page,
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE),
        )
        for match in _BLOCK.finditer(text)
    ]


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page) if block.language in languages]
