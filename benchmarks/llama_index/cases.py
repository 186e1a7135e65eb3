"""A case of the leak table: a program run with or without the guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.llms.llm import LLM

from guardalign_middleware import ImageGuard
from llama_index.llms.guardalign import GuardAlignGuardedLLM

Case = Callable[[ImageGuard | None], Any]
"""Returns what must not hold the raw picture."""
Cases = Mapping[str, Case]


def maybe_guarded(inner: LLM, guard: ImageGuard | None, **options: Any) -> Any:
    """The LLM behind the guard, or by itself."""
    return inner if guard is None else GuardAlignGuardedLLM(llm=inner, guard=guard, **options)
