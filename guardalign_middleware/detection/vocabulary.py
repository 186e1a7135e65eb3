"""What a tokenizer knows and how much its encoder reads at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from guardalign_middleware.errors import ConfigError

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class Vocabulary:
    """The words of an open_clip tokenizer; its own, of byte pairs, knows every word.

    Args:
        tokenizer: as open_clip gives it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._inner = getattr(tokenizer, "tokenizer", None)

    def check(self, prompt: str) -> None:
        """Reject unknown words: a small vocabulary would turn them into confident nonsense.

        Raises:
            ConfigError: a word is unknown, or the prompt is too long.
        """
        if self._inner is not None:
            # SigLIP drops case and punctuation.
            cleaned = self._tokenizer.clean_fn(prompt)
            if self._is_unknown(cleaned):
                unknown = [word for word in cleaned.split() if self._is_unknown(word)]
                raise ConfigError(
                    f"The encoder does not know the word {', '.join(map(repr, unknown))} "
                    f"in {prompt!r}.",
                    remedy="Use another word in the anchors or templates.",
                )
        length, limit = self.length(prompt), self._tokenizer.context_length
        if length > limit:
            raise ConfigError(
                f"{prompt!r} is {length} tokens long; the encoder reads at most {limit}.",
                remedy="Shorten the anchor or the template.",
            )

    def length(self, prompt: str) -> int:
        """Tokens of a prompt, with those that begin and end it."""
        if self._inner is None:
            return len(self._tokenizer.encode(prompt)) + 2
        return len(self._inner(self._tokenizer.clean_fn(prompt)).input_ids)

    def readable(self, text: str, templates: Sequence[str]) -> tuple[str, ...]:
        """The known words of a text, in pieces that can be read in any template.

        Unknown words are left out. There is no piece if all that is left are words of the
        templates, which say nothing.
        """
        known = [word for word in _WORD.findall(text) if self._knows(word)]
        empty = {word.lower() for one in templates for word in one.split()}
        if not {word.lower() for word in known} - empty:
            return ()
        longest = max(templates, key=self.length)
        limit = self._tokenizer.context_length
        pieces: list[str] = []
        for word in known:
            longer = f"{pieces[-1]} {word}" if pieces else word
            if pieces and self.length(longest.replace("{}", longer)) <= limit:
                pieces[-1] = longer
            elif self.length(longest.replace("{}", word)) <= limit:
                pieces.append(word)
        return tuple(pieces)

    def _knows(self, word: str) -> bool:
        if self._inner is None:
            return True
        # Punctuation alone leaves nothing.
        cleaned = self._tokenizer.clean_fn(word)
        return bool(self._ids(cleaned)) and not self._is_unknown(cleaned)

    def _is_unknown(self, cleaned: str) -> bool:
        assert self._inner is not None
        unknown = self._inner.unk_token_id
        # Some tokenizers have no token of their own for unknown words and name another one.
        if unknown is None or unknown == self._inner.eos_token_id:
            return False
        return unknown in self._ids(cleaned)

    def _ids(self, cleaned: str) -> list[int]:
        assert self._inner is not None
        ids: list[int] = self._inner(cleaned, add_special_tokens=False).input_ids
        return ids
