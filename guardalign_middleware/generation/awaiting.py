"""Waiting for a runner in an event loop, without a thread that waits along. Needs no torch.

A thread is used only while prompts are put into the model's form. So any number of tasks can wait
at once and be answered in one pass, on a machine whose default executor has a handful of threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.generation.stream import Runner, Ticket
from guardalign_middleware.types import Generated, Message


@runtime_checkable
class BatchStarter(Protocol):
    """A runner that can begin several answers at once and return before they are made."""

    def start_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        **options: Any,
    ) -> list[Ticket]:
        """Begin to answer several conversations, all or none."""


def start_batch(
    runner: Runner,
    rows: Sequence[Sequence[Message]],
    *,
    prefix: bool | Sequence[bool] = True,
    **options: Any,
) -> list[Ticket]:
    """Begin several answers, by one stream for each where the runner has no better way.

    Args:
        runner: any.
        rows: conversations.
        prefix: whether the safety prefix is in the prompt, for all or for each.
        options: further keywords of `Runner.stream`.
    """
    if isinstance(runner, BatchStarter):
        return runner.start_batch(rows, prefix=prefix, **options)
    pairs = zip(rows, flags_of(prefix, len(rows)), strict=True)
    return [runner.stream(row, prefix=flag, **options).ticket for row, flag in pairs]


async def agenerate_batch(
    runner: Runner,
    rows: Sequence[Sequence[Message]],
    *,
    prefix: bool | Sequence[bool] = True,
    **options: Any,
) -> list[Generated]:
    """`Runner.generate_batch` for an event loop; cancelling the task stops every answer.

    It returns, or raises, when nothing of it is at work any more, which after a cancellation is a
    token or two later. Arguments are those of `start_batch`.
    """
    flags = flags_of(prefix, len(rows))
    answers: list[Generated] = []
    for part in parts_of(len(rows), runner.config):
        tickets = await asyncio.to_thread(
            start_batch, runner, rows[part], prefix=flags[part], **options
        )
        try:
            for ticket in tickets:
                await ticket.ended()
                answers.append(ticket.future.result())
        finally:
            for ticket in tickets:
                ticket.cancel()
            for ticket in tickets:
                await ticket.ended()
    return answers


def flags_of(prefix: bool | Sequence[bool], count: int) -> list[bool]:
    """One value of `prefix` for each of `count` conversations.

    Raises:
        ConfigError: there are more or fewer.
    """
    flags = [prefix] * count if isinstance(prefix, bool) else list(prefix)
    if len(flags) != count:
        raise ConfigError(
            f"prefix should have one value per conversation ({count}). Got {len(flags)}."
        )
    return flags


def parts_of(count: int, config: RunnerConfig) -> list[slice]:
    """`count` conversations in parts that the queue has room for and one pass can answer."""
    size = min(config.batch_size, config.max_queue)
    return [slice(start, start + size) for start in range(0, count, size)]
