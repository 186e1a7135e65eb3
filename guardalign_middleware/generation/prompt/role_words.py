"""Words with which a chat template without control tokens says whose turn it is.

LLaVA-1.5 writes `USER:` and `ASSISTANT:` in plain text, and user text with the same words would be
read as further turns. The template itself shows its words: conversations with a mark in place of
every text are rendered, and what stands before a mark is how that turn begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from guardalign_middleware.errors import MessageError
from guardalign_middleware.generation.prompt.span_marks import MARKS

Render = Callable[[list[dict[str, Any]]], str]

_CONVERSATIONS = (
    ("user",),
    ("system", "user"),
    ("user", "assistant", "user"),
    ("system", "user", "assistant", "user"),
    ("user", "assistant", "tool"),
)
_TALKERS = ("user", "assistant")
_MARK = MARKS.instruction_open


@dataclass(frozen=True)
class _Header:
    """What stands between the text before and the text of a turn.

    `rest` is what follows the last control token; `after` that token, empty if there is none.
    """

    role: str
    after: str
    rest: str

    @property
    def word(self) -> str:
        """The last word, if it has a letter."""
        last = (self.rest.split() or [""])[-1]
        return last if any(char.isalpha() for char in last) else ""

    def is_guarded(self, edges: Sequence[str]) -> bool:
        """Whether a control token stands directly before the role, or there is no word at all."""
        if not self.word:
            return True
        return bool(self.after) and self.after not in edges and not self.rest[0].isspace()


def role_words(render: Render, control_tokens: Sequence[str], edges: Sequence[str]) -> set[str]:
    """What user text must not contain, for it would begin a turn.

    A role is guarded if a control token stands directly before it, as in `<|im_start|>user`, or
    between it and the text, as in `<|User|>:`. Such roles have no words here.

    Args:
        render: writes a conversation with the chat template, and the beginning of the answer.
        control_tokens: those of the model, which user text cannot contain.
        edges: control tokens that begin or end a text of any role, so they guard none.
    """
    found: dict[str, set[str]] = {}
    guarded: dict[str, set[str]] = {}
    for turns in _CONVERSATIONS:
        headers = list(_headers(render, turns, control_tokens))
        words = [(header.role, header.word) for header in headers]
        for header in headers:
            # A word without signs around it may be the end of a default system prompt, unless it
            # begins two turns of a talker.
            again = header.role in _TALKERS and words.count((header.role, header.word)) > 1
            if header.word and (again or _has_signs(header.word)):
                kind = guarded if header.is_guarded(edges) else found
                kind.setdefault(header.role, set()).add(header.word)
    if any(role in found for role in _TALKERS):
        # Roles are written alike. What guards only some of them ends the text before.
        for role, words_of_role in guarded.items():
            found.setdefault(role, set()).update(words_of_role)
    words_found = set[str]().union(*found.values())
    return {word if not word.isalnum() else f"\n{word}\n" for word in words_found}


def _headers(
    render: Render, turns: Sequence[str], control_tokens: Sequence[str]
) -> Iterator[_Header]:
    """How each of the turns begins, and the answer; none if the template refuses or drops turns."""
    conversation = [{"role": role, "content": [{"type": "text", "text": _MARK}]} for role in turns]
    try:
        pieces = render(conversation).split(_MARK)
    except MessageError:
        return
    answered = (*turns, "assistant")
    if len(pieces) != len(answered):
        return
    for role, piece in zip(answered, pieces, strict=True):
        ends = {piece.rfind(t) + len(t): t for t in control_tokens if t in piece}
        end = max(ends, default=0)
        yield _Header(role, ends.get(end, ""), piece[end:])


def _has_signs(word: str) -> bool:
    return word.endswith(":") or not (word[0].isalnum() or word[-1].isalnum())
