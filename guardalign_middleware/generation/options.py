"""The keywords of one generation. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class GenerationOptions(TypedDict, total=False):
    """Keywords of every call that generates; an absent or None value comes from `RunnerConfig`.

    Attributes:
        max_new_tokens: at most this many tokens.
        temperature: 0 = greedy.
        seed: of the sampling.
        stop: the answer ends before the first of these strings.
        tools: JSON schemas of what the model may call.
    """

    max_new_tokens: int | None
    temperature: float | None
    seed: int | None
    stop: Sequence[str] | None
    tools: Sequence[Mapping[str, Any]]
