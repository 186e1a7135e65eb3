"""Private-use characters that mark the safety prefix and the instruction in a prompt's text.

The chat template is rendered with these marks; `MarkReader` takes them out again and remembers
where they were, while the processor tokenizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from guardalign_middleware.errors import CalibrationError

Span = tuple[int, int]


@dataclass(frozen=True)
class SpanMarks:
    """Characters that open and close the two spans; all empty for the plain prompt."""

    prefix_open: str = ""
    prefix_close: str = ""
    instruction_open: str = ""
    instruction_close: str = ""


NO_MARKS = SpanMarks()
# Private-use characters of plane 16: no font, tokenizer or chat template gives them a meaning.
MARKS = SpanMarks("\U0010f8c0", "\U0010f8c1", "\U0010f8c2", "\U0010f8c3")
MARK_CHARACTERS = frozenset(vars(MARKS).values())


@dataclass(frozen=True)
class TokenizerCall:
    """One call of a `MarkReader`.

    Attributes:
        texts: without marks.
        marks: for each text its marks, each with the index of the character that it preceded.
        batch: what the tokenizer made of the texts.
    """

    texts: list[str]
    marks: list[list[tuple[str, int]]]
    batch: BatchEncoding

    def offsets(self, row: int) -> list[Span]:
        """The characters `[start, end)` of each token of a text."""
        encodings = self.batch.encodings
        if encodings is None:
            raise CalibrationError("The tokenizer gave no offsets.", stage="spans")
        return [(int(start), int(end)) for start, end in encodings[row].offsets]


class MarkReader:
    """Replaces a tokenizer during one processor call, and takes the marks out of the text.

    Args:
        tokenizer: gets the text without marks.

    Attributes:
        calls: what it was called with.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.calls: list[TokenizerCall] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __call__(self, text: str | list[str], **kwargs: Any) -> BatchEncoding:
        """Tokenize the text without its marks."""
        pairs = [strip_marks(item) for item in ([text] if isinstance(text, str) else text)]
        clean, marks = [item for item, _ in pairs], [found for _, found in pairs]
        batch = self._tokenizer(clean, **kwargs)
        self.calls.append(TokenizerCall(clean, marks, batch))
        return _MarkedEncoding(batch, marks)


class _MarkedEncoding(BatchEncoding):
    """A `BatchEncoding` whose character indices are those of the text with marks."""

    def __init__(self, batch: BatchEncoding, marks: list[list[tuple[str, int]]]) -> None:
        super().__init__(dict(batch), encoding=batch.encodings)
        self._marks = marks

    def char_to_token(  # type: ignore[override]
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        row = 0 if char_index is None else batch_or_char_index
        char = batch_or_char_index if char_index is None else char_index
        # The k-th mark is k characters further right in the marked text.
        before = sum(at + k < char for k, (_, at) in enumerate(self._marks[row]))
        token = super().char_to_token(row, char - before, sequence_index)
        return None if token is None else int(token)


def strip_marks(text: str) -> tuple[str, list[tuple[str, int]]]:
    """The text without marks, and each mark with the index of the character that it preceded."""
    marks: list[tuple[str, int]] = []
    clean: list[str] = []
    for char in text:
        if char in MARK_CHARACTERS:
            marks.append((char, len(clean)))
        else:
            clean.append(char)
    return "".join(clean), marks


def pair_marks(
    marks: list[tuple[str, int]], *, expect_prefix: bool
) -> tuple[list[Span], list[Span]]:
    """Character spans of the prefix and of the pieces of the instruction.

    Raises:
        CalibrationError: marks are missing or out of order.
    """
    names = [name for name, _ in marks]
    prefix = [MARKS.prefix_open, MARKS.prefix_close]
    instruction = [MARKS.instruction_open, MARKS.instruction_close]
    head = prefix if expect_prefix else []
    pieces = (len(names) - len(head)) // 2 if expect_prefix else 0
    if names != head + instruction * max(pieces, 0):
        raise CalibrationError(
            "The marks of prefix and instruction are missing or out of order in the prompt.",
            stage="spans",
            remedy="The chat template reorders or repeats the text; use calibrate=False.",
        )
    spans = [(marks[i][1], marks[i + 1][1]) for i in range(0, len(marks), 2)]
    return spans[: len(head) // 2], spans[len(head) // 2 :]


def tokens_in(spans: list[Span], text: str, offsets: list[Span]) -> Tensor:
    """Which tokens, bool `[L]`, overlap a character of the spans that is not white space."""
    inside = [False] * len(text)
    for start, end in spans:
        for at in range(start, end):
            inside[at] = not text[at].isspace()
    return torch.tensor([any(inside[start:end]) for start, end in offsets], dtype=torch.bool)
