"""Clean the prompts of a chat model, and put the verdicts on its runs and answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import Callbacks
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import RunnableConfig

from guardalign_middleware.cleaning.outcomes import Cleaned
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.scan_threads import in_scan_thread
from langchain_guardalign.tracing import run_metadata
from langchain_guardalign.verdict_metadata import with_records, without_images

if TYPE_CHECKING:
    from langchain_guardalign.runnable import ImageGuardRunnable

Screened = Cleaned | Exception
"""A prompt after the guard, or the reason why nothing may be forwarded."""

NOT_SHOWN = "[prompt not shown: the guard did not let it pass]"


def screen(
    guard: ImageGuardRunnable,
    prompts: Sequence[Any],
    configs: Sequence[RunnableConfig],
    *,
    replies: bool = True,
) -> list[Screened]:
    """Clean prompts with one scan.

    The only run is the model's, as without a guard. A prompt that may not be forwarded has none, so
    a run of the guard shows its error.

    Args:
        guard: cleans them.
        prompts: in any form that a chat model takes; they keep it.
        configs: one for each.
        replies: whether a reply in words can be the answer; else a blocked image is an error.
    """
    results = _results(guard, prompts, replies)
    for result, config in zip(results, configs, strict=True):
        if isinstance(result, Exception):
            guard._batch_with_config(
                lambda _, error=result: [error], [NOT_SHOWN], config, return_exceptions=True
            )
    return results


async def ascreen(
    guard: ImageGuardRunnable,
    prompts: Sequence[Any],
    configs: Sequence[RunnableConfig],
    *,
    replies: bool = True,
) -> list[Screened]:
    """`screen` with the scan in a thread, so that the event loop stays free."""
    results = await in_scan_thread(_results, guard, prompts, replies)
    for result, config in zip(results, configs, strict=True):
        if isinstance(result, Exception):

            async def fail(_: list[str], error: Exception = result) -> list[Any]:
                return [error]

            await guard._abatch_with_config(fail, [NOT_SHOWN], config, return_exceptions=True)
    return results


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
    if not isinstance(answer, BaseMessage):
        return answer
    changed = with_records(answer.__dict__, prompt.records, instead=True)
    return answer.model_copy(update=changed) if changed else answer


def without_verdicts(chunk: Any, prompt: Cleaned) -> Any:
    """A later chunk of a stream, whose first one has the verdicts on the prompt's images.

    A guarded model behind the guard gives its own at the end, and LangChain would join the two.
    """
    if not isinstance(chunk, BaseMessage) or not prompt.records:
        return chunk
    changed = without_images(chunk.__dict__)
    return chunk.model_copy(update=changed) if changed else chunk


def generation_with_verdicts(generation: Any, prompt: Cleaned) -> Any:
    """A copy of the generation, which a cache may hold, with the verdicts in its message."""
    if not isinstance(generation, ChatGeneration):
        return generation
    return generation.model_copy(update={"message": with_verdicts(generation.message, prompt)})


def run_config(config: RunnableConfig, prompt: Cleaned) -> RunnableConfig:
    """The config of the model's run, with the verdicts in its metadata."""
    if not prompt.records:
        return config
    metadata = {**(config.get("metadata") or {}), **run_metadata(prompt.records)}
    return RunnableConfig(**{**config, "metadata": metadata})


def config_of(
    callbacks: Callbacks, tags: list[str] | None = None, metadata: dict[str, Any] | None = None
) -> RunnableConfig:
    """The config of a run with these callbacks."""
    return RunnableConfig(callbacks=callbacks, tags=tags or [], metadata=metadata or {})


def _results(guard: ImageGuardRunnable, prompts: Sequence[Any], replies: bool) -> list[Screened]:
    try:
        screened = guard.screen(prompts)
    except GuardAlignError as fault:
        # It concerns every prompt.
        return [fault] * len(prompts)
    if replies and guard.replies:
        return screened
    return [
        guard.blocked_error(item) or item if isinstance(item, Cleaned) else item
        for item in screened
    ]
