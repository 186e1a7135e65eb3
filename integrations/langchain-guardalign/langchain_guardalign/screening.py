"""Run the guard on the prompts of a chat model: cleaned prompts, and verdicts on the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseRunManager, Callbacks
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import RunnableConfig

from langchain_guardalign.cleaner import Cleaned
from langchain_guardalign.verdict_metadata import METADATA_KEY, summary

if TYPE_CHECKING:
    from langchain_guardalign.runnable import ImageGuardRunnable

Screened = Cleaned | Exception
"""A prompt after the guard, or the reason why nothing may be forwarded."""


def screen(
    guard: ImageGuardRunnable, prompts: Sequence[Any], configs: Sequence[RunnableConfig]
) -> list[Screened]:
    """Clean prompts with one scan, each in a run of the guard.

    Args:
        guard: cleans them.
        prompts: in any form that a chat model takes; they keep it.
        configs: one for each; names and ids in it stay for the model's run.
    """
    kept: list[Screened] = []

    def clean(values: list[Any], run_manager: Sequence[BaseRunManager]) -> list[Any]:
        kept.extend(guard.screen(values, run_manager))
        return [_value_or_error(item) for item in kept]

    own = [_for_the_guard(config) for config in configs]
    returned = guard._batch_with_config(clean, list(prompts), own, return_exceptions=True)
    return kept or _faults(returned)


async def ascreen(
    guard: ImageGuardRunnable, prompts: Sequence[Any], configs: Sequence[RunnableConfig]
) -> list[Screened]:
    """`screen` with the scan in a thread, so that the event loop stays free."""
    kept: list[Screened] = []

    async def clean(values: list[Any], run_manager: Sequence[BaseRunManager]) -> list[Any]:
        kept.extend(await asyncio.to_thread(guard.screen, values, run_manager))
        return [_value_or_error(item) for item in kept]

    own = [_for_the_guard(config) for config in configs]
    returned = await guard._abatch_with_config(clean, list(prompts), own, return_exceptions=True)
    return kept or _faults(returned)


def cleaned(screened: Sequence[Screened]) -> list[Cleaned]:
    """All of the prompts, if each may be forwarded.

    Raises:
        Exception: the error of the first that may not.
    """
    for item in screened:
        if isinstance(item, Exception):
            raise item
    return [item for item in screened if isinstance(item, Cleaned)]


def with_verdicts(answer: Any, prompt: Cleaned) -> Any:
    """The answer to a prompt with the verdicts on the prompt's images; as it is without images."""
    if not prompt.records or not isinstance(answer, BaseMessage):
        return answer
    metadata = {**answer.response_metadata, METADATA_KEY: summary(prompt.records)}
    return answer.model_copy(update={"response_metadata": metadata})


def generation_with_verdicts(generation: Any, prompt: Cleaned) -> Any:
    """A copy of the generation, which a cache may hold, with the verdicts in its message."""
    if not isinstance(generation, ChatGeneration):
        return generation
    return generation.model_copy(update={"message": with_verdicts(generation.message, prompt)})


def config_of(
    callbacks: Callbacks, tags: list[str] | None = None, metadata: dict[str, Any] | None = None
) -> RunnableConfig:
    """The config of a run with these callbacks."""
    return RunnableConfig(callbacks=callbacks, tags=tags or [], metadata=metadata or {})


def _faults(returned: Sequence[Any]) -> list[Screened]:
    """A fault of the guard, which is returned once for each prompt; an interruption goes on."""
    for item in returned:
        if not isinstance(item, Exception):
            raise item
    return list(returned)


def _for_the_guard(config: RunnableConfig) -> RunnableConfig:
    own = config.copy()
    own.pop("run_id", None)
    own.pop("run_name", None)
    return own


def _value_or_error(item: Screened) -> Any:
    return item.value if isinstance(item, Cleaned) else item
