"""Which prompts may share a pass: those that, joined, are the processor's own batch.

A family decides how its processor makes a batch of several prompts. So joining is tried once, when
a runner is made, on small prompts without a picture, with one and with two, and compared with what
the processor itself makes of each pair. Prompts of a kind for which the two differ, or for which
the processor makes no batch at all, are answered alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch

from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.generation.engine.collate import collate, group_of, layout_of
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart

Encode = Callable[[Sequence[Sequence[Message]]], EncodedPrompts]
"""The processor's own batch of several conversations."""

_HEIGHT, _WIDTH = 168, 224
_WORDS = ("What is this?", "Something else is asked here, and it is longer.")
# More pictures are of the same kind as two.
_MOST = 2


class JoinChecks:
    """Knows of each kind of prompt whether its prompts may be joined.

    Args:
        encode: makes the processor's own batches.
        pad: the token that `collate` pads with.
    """

    def __init__(self, encode: Encode, pad: int) -> None:
        kinds = [_joinable_kind(pictures, encode, pad) for pictures in range(_MOST + 1)]
        self._joinable: frozenset[Hashable] = frozenset(kinds) - {None}

    def may_join(self, messages: Sequence[Message], prompt: EncodedPrompts) -> bool:
        """Whether the prompt of a conversation may share a pass with others of its group."""
        return _kind(sum(len(message.images) for message in messages), prompt) in self._joinable


def _kind(pictures: int, prompt: EncodedPrompts) -> Hashable:
    return min(pictures, _MOST), layout_of(prompt)


def _joinable_kind(pictures: int, encode: Encode, pad: int) -> Hashable | None:
    """The kind of prompts with that many pictures; None if they may not be joined."""
    rows = [[_question(words, pictures)] for words in _WORDS]
    try:
        single = [encode([row]) for row in rows]
        own = encode(rows)
    except GuardAlignError:
        return None
    if len({group_of(prompt) for prompt in single}) > 1:
        # Its words change the shape of more than the sequences.
        return None
    joined = collate(single, pad)
    same = joined.inputs.keys() == own.inputs.keys() and all(
        value.dtype == own.inputs[name].dtype and torch.equal(value, own.inputs[name])
        for name, value in joined.inputs.items()
    )
    return _kind(pictures, single[0]) if same else None


def _question(words: str, pictures: int) -> Message:
    tone = 10 * len(words)
    parts = [
        ImagePart(
            CanonicalImage(np.full((_HEIGHT, _WIDTH, 3), (tone + 40 * index) % 256, dtype=np.uint8))
        )
        for index in range(pictures)
    ]
    return Message("user", (*parts, TextPart(words)))
