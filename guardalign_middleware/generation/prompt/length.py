"""The least length of a prompt, known before its pictures are decoded and its text is tokenized.

All of this happens with copies of the tokenizer, so that a text of megabytes keeps no other call
waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from guardalign_middleware.errors import ContextOverflow, GuardAlignError
from guardalign_middleware.generation.model_faults import MODEL_FAULTS, check_memory
from guardalign_middleware.generation.prompt.control_tokens import neutralise
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart

_PIECE = 4096
LONG = 100_000
"""Characters from which a text is counted in pieces, unless it may fit."""
# What tokens can grow together at the two ends of a piece.
_SLACK = 4
# The count ends at so many times the limit; the rest could only add to it.
_ENOUGH = 2
# Pictures of these shapes are tried, to find what one takes at least.
_TRIED = ((64, 64), (256, 64), (64, 256), (640, 40))

Size = tuple[int, int]
Count = Callable[[Size | None], int]
"""The tokens of a prompt with a picture of this size, or with none."""


class PromptLength:
    """Refuses prompts that the model cannot read whatever the guard makes of them.

    It never refuses one that fits: text is counted in pieces, less what could merge between them,
    and a picture counts with what small ones take. Threads may share it.

    Args:
        copied: makes a copy of the model's tokenizer.
        count: tries the model's processor.
        limit: the longest prompt that the model can read; None = no limit.
    """

    def __init__(self, copied: Callable[[], Any], count: Count, limit: int | None) -> None:
        self._copied = copied
        self._count = count
        self._limit = limit
        self._lock = threading.Lock()
        self._tokenizer: Any = None

    def check(self, texts: Sequence[str], pictures: int, others: int) -> None:
        """Refuse a prompt that is certainly too long.

        Args:
            texts: that will be in it.
            pictures: how many pictures will be in it.
            others: how many more may be, or a short text in the place of each.

        Raises:
            ContextOverflow: with the tokens that were counted, which may not be all.
            OutOfMemory: there is no memory to try what a picture takes.
        """
        limit = self._limit
        if limit is None:
            return
        count = others + (pictures * self._least_of_one if pictures else 0)
        if count + sum(map(_most_tokens, texts)) <= limit:
            return
        for piece in (piece for text in texts for piece in _pieces(text)):
            count += max(0, len(self.token_ids(piece)) - _SLACK)
            if count > _ENOUGH * limit:
                break
        if count > limit:
            raise ContextOverflow(
                f"The prompt has at least {count} tokens; the model reads at most {limit}.",
                tokens=count,
                limit=limit,
                remedy="Shorten the conversation or send fewer images.",
            )

    def check_long(self, messages: Sequence[Message]) -> None:
        """`check` for what is long, which would otherwise be tokenized as a whole."""
        texts = [message.text for message in messages]
        if sum(map(len, texts)) > LONG:
            self.check(texts, 0, 0)

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a text alone, without special tokens around it."""
        if len(text) > LONG:
            return _ids(self._copied(), text)
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._copied()
            return _ids(self._tokenizer, text)

    @cached_property
    def _least_of_one(self) -> int:
        """Tokens of a picture: exact if all take the same, otherwise less than any takes."""
        try:
            without = self._count(None)
            taken = [self._count(size) - without for size in _TRIED]
        except (GuardAlignError, *MODEL_FAULTS) as error:
            check_memory(error)
            return 1  # It takes no picture of such a shape, or no prompt without one.
        least = min(taken)
        return max(1, least if least == max(taken) else least // 2)


def trial(size: Size | None) -> list[Message]:
    """A conversation with a black picture of this size, or with none."""
    parts: tuple[TextPart | ImagePart, ...] = (TextPart("a"),)
    if size is not None:
        width, height = size
        black = CanonicalImage(np.zeros((height, width, 3), dtype=np.uint8))
        parts = (ImagePart(black), *parts)
    return [Message("user", parts)]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return [int(i) for i in tokenizer.encode(text, add_special_tokens=False)]


def _most_tokens(text: str) -> int:
    """No tokenizer makes more than one token of each byte."""
    return len(text) if text.isascii() else 4 * len(text)


def _pieces(text: str) -> Iterator[str]:
    # As the template may write it: without white space around it, and without span marks.
    text = text.strip()
    for start in range(0, len(text), _PIECE):
        yield neutralise(text[start : start + _PIECE], ())
