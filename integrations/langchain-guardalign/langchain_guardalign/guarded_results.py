"""The results of a guarded chat model: answers and replies in order, with the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import BaseRunManager
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig

from guardalign_middleware.cleaning.outcomes import Cleaned
from langchain_guardalign.screening import (
    Screened,
    cleaned,
    generation_with_verdicts,
    run_config,
    with_verdicts,
)
from langchain_guardalign.tracing import record_on_run, run_metadata

Prompts = list[tuple[Cleaned, RunnableConfig]]


def record(prompt: Cleaned, run_manager: BaseRunManager | None) -> None:
    """Put the verdicts on the caller's own run."""
    if run_manager is not None:
        record_on_run(prompt.records, run_manager)


def metadata_with_verdicts(
    metadata: dict[str, Any] | None, prompts: Sequence[Cleaned]
) -> dict[str, Any]:
    """The metadata of the run that answers these prompts."""
    records = [each for prompt in prompts for each in prompt.records]
    return {**(metadata or {}), **run_metadata(records)}


def to_answer(
    screened: Sequence[Screened], configs: Sequence[RunnableConfig], return_exceptions: bool
) -> tuple[Prompts, Prompts]:
    """The prompts for the model and those for a reply, with their configs.

    Raises:
        Exception: the error of the first that may not be forwarded, unless errors are returned.
    """
    if not return_exceptions:
        cleaned(screened)
    pairs = [
        (item, run_config(config, item))
        for item, config in zip(screened, configs, strict=True)
        if isinstance(item, Cleaned)
    ]
    asked = [pair for pair in pairs if not pair[0].blocked]
    return asked, [pair for pair in pairs if pair[0].blocked]


def in_order(
    screened: Sequence[Screened], answers: Sequence[Any], replies: Sequence[Any]
) -> list[Any]:
    """The model's answers, the replies and the errors, one for each prompt."""
    rest, blocked = iter(answers), iter(replies)
    return [
        with_verdicts(next(blocked if item.blocked else rest), item)
        if isinstance(item, Cleaned)
        else item
        for item in screened
    ]


def merged(
    prompts: Sequence[Cleaned], answers: LLMResult | None, replies: Sequence[LLMResult]
) -> LLMResult:
    """One result for all prompts, in their order.

    Args:
        prompts: what was screened.
        answers: the model's, to the prompts that are not blocked; None if all are.
        replies: one for each blocked prompt.
    """
    # The model's own result: a new one would lose `run`, and only generations can be shared with
    # a cache.
    result = answers or LLMResult(generations=[], run=[])
    rows, runs = iter(result.generations), iter(result.run or [])
    blocked = iter(replies)
    generations, all_runs = [], []
    for prompt in prompts:
        reply = next(blocked) if prompt.blocked else None
        row = next(rows) if reply is None else reply.generations[0]
        generations.append([generation_with_verdicts(each, prompt) for each in row])
        run = next(runs if reply is None else iter(reply.run or []), None)
        all_runs += [] if run is None else [run]
    result.generations = generations
    result.run = all_runs or None
    return result


def chat_result(result: ChatResult, prompt: Cleaned) -> ChatResult:
    """The answer to one prompt with its verdicts."""
    generations = [generation_with_verdicts(each, prompt) for each in result.generations]
    return ChatResult(generations=generations, llm_output=result.llm_output)


def as_chunk(result: ChatResult, prompt: Cleaned) -> ChatGenerationChunk:
    """The whole answer of a model that does not stream."""
    message = with_verdicts(result.generations[0].message, prompt)
    fields = {name: getattr(message, name) for name in type(message).model_fields}
    fields |= {"type": "AIMessageChunk", "chunk_position": "last"}
    return ChatGenerationChunk(message=AIMessageChunk(**fields))
