"""Choosing tokens, knowing when to stop, and turning tokens into text that never has to be unsaid.

All of it is per row: what one row of a batch does never depends on the others.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from guardalign_middleware.errors import GuardError
from guardalign_middleware.types import FinishReason

Decode = Callable[[Sequence[int]], str]

# Spaces end a word, and scripts from CJK upwards write without them. What follows may still change.
_UNSETTLED = re.compile(r"[^\s\u2e80-\U0010ffff]*$")


class NextTokens(LogitsProcessor):
    """Checks the scores and, above temperature 0, turns the greedy choice into sampling.

    argmax_v(score_v / temperature + g_v), with g_v independent standard Gumbel noise, is
    distributed as softmax(score / temperature). Every row draws from its own generator, so
    a row's answer depends on its seed alone, not on its neighbours, nor on global random state.
    """

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        self.temperature = temperature
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores `[B, V]` whose argmax is the next token.

        Raises:
            GuardError: the model gave NaN.
        """
        if bool(scores.isnan().any()):
            raise GuardError(
                "The model gave NaN instead of next-token scores.",
                stage="generation",
                remedy="Use dtype 'bfloat16' or 'float32'; float16 overflows in some models.",
            )
        if self.temperature == 0.0:
            return scores
        width = scores.shape[1]
        uniform = torch.stack([torch.rand(width, generator=g) for g in self._generators])
        tiny = torch.finfo(uniform.dtype).tiny
        noise = -torch.log(-torch.log(uniform.clamp(min=tiny)))
        return scores / self.temperature + noise.to(scores.device)


class RowWatch(StoppingCriteria):
    """Ends a row at a stop string and every row on cancellation; remembers how each row ended."""

    def __init__(
        self,
        *,
        rows: int,
        prompt_length: int,
        eos: Sequence[int],
        decode: Decode,
        stop: Sequence[str],
        cancel: threading.Event | None,
    ) -> None:
        self._prompt_length = prompt_length
        self._eos = frozenset(eos)
        self._decode = decode
        self._stop = tuple(stop)
        self._cancel = cancel
        self._stopped_at: list[int | None] = [None] * rows
        self.cancelled = False

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """Which rows are done, bool `[B]`."""
        rows = input_ids.shape[0]
        if self._cancel is not None and self._cancel.is_set():
            self.cancelled = True
            return torch.ones(rows, dtype=torch.bool, device=input_ids.device)
        if not self._stop:
            return torch.zeros(rows, dtype=torch.bool, device=input_ids.device)
        for row, ids in enumerate(input_ids[:, self._prompt_length :].tolist()):
            if self._stopped_at[row] is None and find_stop(self._decode(ids), self._stop) >= 0:
                self._stopped_at[row] = len(ids)
        done = [at is not None for at in self._stopped_at]
        return torch.tensor(done, device=input_ids.device)

    def outcome(self, row: int, ids: Sequence[int]) -> tuple[list[int], FinishReason]:
        """The tokens that belong to a row, its end token included, and why it ended.

        Args:
            row: index in the batch.
            ids: all token ids of the row behind the prompt, with whatever padding follows.
        """
        ends = [at + 1 for at, token in enumerate(ids) if token in self._eos]
        stopped = self._stopped_at[row]
        if stopped is not None and (not ends or stopped < ends[0]):
            return list(ids[:stopped]), "stop"
        if ends:
            return list(ids[: ends[0]]), "stop"
        return list(ids), "cancelled" if self.cancelled else "length"


class TextEmitter(BaseStreamer):
    """Passes on the settled part of one row's text as it grows."""

    def __init__(self, emit: Callable[[str], None], decode: Decode, stop: Sequence[str]) -> None:
        self._emit = emit
        self._decode = decode
        self._stop = tuple(stop)
        # Text that could be the beginning of a stop string is not settled.
        self._reserve = max((len(item) - 1 for item in self._stop), default=0)
        self._ids: list[int] = []
        self._sent = ""
        self._prompt_seen = False

    def put(self, value: Tensor) -> None:
        """Take the prompt (once), then one token after the other."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        self._ids.extend(int(token) for token in value.flatten())
        text = self._decode(self._ids)
        if find_stop(text, self._stop) >= 0:
            return
        text = text.rstrip("\ufffd")
        text = text[: len(text) - self._reserve]
        self._advance(_UNSETTLED.sub("", text).strip())

    def end(self) -> None:
        """Nothing: the end of the text is known only to `finish`."""

    def finish(self, text: str) -> None:
        """Send what is missing from the final text.

        Raises:
            GuardError: text that was already sent is not the beginning of the final text.
        """
        if not text.startswith(self._sent):
            raise GuardError(
                "The answer's beginning changed after it had been streamed.",
                stage="generation",
                remedy="Use generate instead of stream with this tokenizer.",
            )
        self._advance(text)

    def _advance(self, text: str) -> None:
        if len(text) > len(self._sent) and text.startswith(self._sent):
            self._emit(text[len(self._sent) :])
            self._sent = text


def find_stop(text: str, stop: Sequence[str]) -> int:
    """Where the first stop string begins in the text; -1 when there is none."""
    found = [at for at in (text.find(item) for item in stop) if at >= 0]
    return min(found, default=-1)


def final_text(text: str, stop: Sequence[str]) -> str:
    """The answer: text up to the first stop string, without surrounding white space."""
    at = find_stop(text, stop)
    return (text if at < 0 else text[:at]).strip()
