"""Sampling, stopping, and streaming only text that later tokens cannot change.

Everything is per row: no row of a batch depends on another.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria

from guardalign_middleware.errors import GuardError
from guardalign_middleware.replies import FinishReason

Decode = Callable[[Sequence[int]], str]

# The last word may still change. Spaces end a word; CJK and later scripts write without them.
_WORD_END = re.compile(r"[\s\u2e80-\U0010ffff]")


class NextTokens(LogitsProcessor):
    """Checks the scores and, above temperature 0, turns the greedy choice into sampling.

    argmax_v(score_v / temperature + g_v), with g_v independent standard Gumbel noise, is
    distributed as softmax(score / temperature). Every row has its own generator on the scores'
    device, so its answer depends on its seed and the kind of device alone, and not on other rows or
    on global random state.

    Args:
        temperatures: one per row; 0 = greedy.
        seeds: one per row.
    """

    def __init__(self, temperatures: Sequence[float], seeds: Sequence[int]) -> None:
        self._temperatures = tuple(temperatures)
        self._seeds = tuple(seeds)
        self._generators: list[torch.Generator] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores `[B, V]` whose argmax is the next token.

        Raises:
            GuardError: a score is NaN.
        """
        if bool(scores.isnan().any()):
            raise GuardError(
                "The model gave NaN instead of next-token scores.",
                stage="generation",
                remedy="Use dtype 'bfloat16' or 'float32'; float16 overflows in some models.",
            )
        if not any(self._temperatures):
            return scores
        if not self._generators:
            self._generators = [
                torch.Generator(scores.device).manual_seed(seed) for seed in self._seeds
            ]
        rows = []
        pairs = zip(self._temperatures, self._generators, strict=True)
        for row, (temperature, generator) in zip(scores, pairs, strict=True):
            if temperature == 0.0:
                rows.append(row)
                continue
            uniform = torch.rand(row.shape[0], generator=generator, device=row.device)
            tiny = torch.finfo(uniform.dtype).tiny
            noise = -torch.log(-torch.log(uniform.clamp(min=tiny)))
            rows.append(row / temperature + noise)
        return torch.stack(rows)


class TokenText:
    """Turns generated tokens into text; safe to call from several threads.

    It copies the tokenizer, so no stream waits for another caller's pictures or text.

    Attributes:
        single_bytes: tokens of one byte, as in Llama's tokenizer. A row of them is decoded as a
            whole: if its end is no character, none of it is.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = copy.deepcopy(tokenizer)
        self._lock = threading.Lock()
        found: Any = tokenizer.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in range(256)])
        self.single_bytes: frozenset[int] = frozenset(found) - {tokenizer.unk_token_id, None}

    def __call__(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        with self._lock:
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


class RowDecoder:
    """Decodes one answer token by token: when it ends, and which text is settled so far.

    Args:
        decode: token ids to text.
        eos: tokens that end an answer.
        stop: strings that end the answer and are not part of it.
        max_new_tokens: maximum length of the answer.
        emit: called with every settled piece of text; joined, the pieces equal the final text.
        cancelled: called at each token; True ends the answer.
        single_bytes: see `TokenText`; text of theirs is settled when another token follows.
    """

    def __init__(
        self,
        decode: Decode,
        *,
        eos: Collection[int],
        stop: Sequence[str],
        max_new_tokens: int,
        emit: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        single_bytes: Collection[int] = frozenset(),
    ) -> None:
        self.ids: list[int] = []
        self.reason: FinishReason | None = None
        self._decode = decode
        self._eos = frozenset(eos)
        self._stop = tuple(stop)
        self._limit = max_new_tokens
        self._emit = emit
        self._cancelled = cancelled
        self._single_bytes = single_bytes
        # Text that may be the beginning of a stop string is not settled.
        self._reserve = max((len(item) - 1 for item in self._stop), default=0)
        self._sent = ""
        self._begin()

    def _begin(self) -> None:
        # The text of the first `_read` tokens; later ones are decoded from token `_window` on.
        self._text, self._window, self._read = "", 0, 0
        # How far this text was searched for ends of words, and where the last of them is.
        self._searched, self._word_end = 0, 0

    def restart(self) -> None:
        """Forget the tokens, to generate the same answer again; no text is sent twice."""
        self.ids = []
        self.reason = None
        self._begin()

    def put(self, token: int) -> bool:
        """Take the next token; returns True if it is the last."""
        self.ids.append(token)
        if token in self._eos:
            self.reason = "stop"
        elif self._cancelled():
            self.reason = "cancelled"
        elif self._stop or self._emit is not None:
            # The text before was searched already; a stop string may begin at its end.
            start = max(0, len(self._text) - self._reserve)
            text = self._grown()
            if find_stop(text, self._stop, start) >= 0:
                self.reason = "stop"
            elif token not in self._single_bytes:
                self._send_settled(text)
        if self.reason is None and len(self.ids) >= self._limit:
            self.reason = "length"
        return self.reason is not None

    def finish(self) -> str:
        """Send the rest of the text, and return the whole answer.

        Raises:
            GuardError: the final text does not begin with the text that was already sent.
        """
        text = final_text(self._decode(self.ids), self._stop)
        if not text.startswith(self._sent):
            raise GuardError(
                "The answer's beginning changed after it had been streamed.",
                stage="generation",
                remedy="Use generate instead of stream with this tokenizer.",
            )
        self._advance(text)
        return text

    def _grown(self) -> str:
        """The text so far; only the last tokens are decoded, because the answer may be long.

        A few earlier tokens are decoded with them, because some tokenizers treat the first token
        differently.
        """
        before = self._decode(self.ids[self._window : self._read])
        after = self._decode(self.ids[self._window :])
        text = self._text + after[len(before) :]
        if not after.endswith("\ufffd") and self.ids[-1] not in self._single_bytes:
            self._text, self._window, self._read = text, self._read, len(self.ids)
        return text

    def _send_settled(self, text: str) -> None:
        end = max(0, len(text.rstrip("\ufffd")) - self._reserve)
        self._advance(text[: self._last_word_end(text, end)].strip())

    def _last_word_end(self, text: str, end: int) -> int:
        """Where the last complete word before `end` ends; only what is new is searched for it."""
        # What is behind `_text` may still change, and is searched again.
        fixed = min(end, len(self._text))
        for match in _WORD_END.finditer(text, self._searched, fixed):
            self._word_end = match.end()
        self._searched = max(self._searched, fixed)
        new = [match.end() for match in _WORD_END.finditer(text, fixed, end)]
        return min(end, new[-1] if new else self._word_end)

    def _advance(self, text: str) -> None:
        if self._emit is not None and len(text) > len(self._sent) and text.startswith(self._sent):
            self._emit(text[len(self._sent) :])
            self._sent = text


class BatchWatch(StoppingCriteria):
    """Passes each row its tokens, and reports a row as soon as it ends.

    Args:
        rows: one decoder per row.
        started: called once, after the model has read the prompts and before the first token.
        ended: called with the index of each row that ends.
    """

    def __init__(
        self,
        rows: Sequence[RowDecoder],
        *,
        started: Callable[[], None],
        ended: Callable[[int], None],
    ) -> None:
        self._rows = tuple(rows)
        self._started: Callable[[], None] | None = started
        self._ended = ended
        self._done = [False] * len(rows)

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """Which rows are done, bool `[B]`."""
        if self._started is not None:
            self._started()
            self._started = None
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if not self._done[row] and self._rows[row].put(token):
                self._done[row] = True
                self._ended(row)
        return torch.tensor(self._done, device=input_ids.device)


def find_stop(text: str, stop: Sequence[str], start: int = 0) -> int:
    """The index of the first stop string in the text from `start` on; -1 if there is none."""
    found = [at for at in (text.find(item, start) for item in stop) if at >= 0]
    return min(found, default=-1)


def final_text(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop string, without surrounding white space."""
    at = find_stop(text, stop)
    return (text if at < 0 else text[:at]).strip()
