"""Waiting for a runner in an event loop without blocking a thread. Needs no torch.

A thread is used only while prompts are encoded. So any number of tasks can wait at once and be
answered in one pass, even where the default executor has a handful of threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, Unpack, runtime_checkable

from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.generation.stream import Runner, Ticket
from guardalign_middleware.replies import Generated
from guardalign_middleware.types import Message


@runtime_checkable
class BatchStarter(Protocol):
    """A runner that can start several answers at once and return before they are complete."""

    def start_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> list[Ticket]:
        """Start answering several conversations, all or none."""


def start_batch(
    runner: Runner,
    rows: Sequence[Sequence[Message]],
    *,
    prefix: bool | Sequence[bool] = True,
    calibrate: bool = True,
    **options: Unpack[GenerationOptions],
) -> list[Ticket]:
    """Start several answers; a runner without `start_batch` gets one `stream` for each.

    Args:
        runner: makes the answers.
        rows: conversations.
        prefix: whether the safety prefix is in the prompt; one value for all, or one per row.
        calibrate: as for `Runner.generate`.
        options: see `GenerationOptions`.
    """
    if isinstance(runner, BatchStarter):
        return runner.start_batch(rows, prefix=prefix, calibrate=calibrate, **options)
    pairs = zip(rows, prefix_flags(prefix, len(rows)), strict=True)
    return [
        runner.stream(row, prefix=flag, calibrate=calibrate, **options).ticket
        for row, flag in pairs
    ]


async def agenerate_batch(
    runner: Runner,
    rows: Sequence[Sequence[Message]],
    *,
    prefix: bool | Sequence[bool] = True,
    calibrate: bool = True,
    **options: Unpack[GenerationOptions],
) -> list[Generated]:
    """`Runner.generate_batch` for an event loop; cancelling the task stops every answer.

    It returns or raises only when all work has ended; after a cancellation that takes a token or
    two. Arguments are those of `start_batch`.
    """
    flags = prefix_flags(prefix, len(rows))
    answers: list[Generated] = []
    for batch in batch_slices(len(rows), runner.config):
        tickets = await asyncio.to_thread(
            start_batch, runner, rows[batch], prefix=flags[batch], calibrate=calibrate, **options
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


def prefix_flags(prefix: bool | Sequence[bool], count: int) -> list[bool]:
    """One value of `prefix` for each of `count` conversations.

    Raises:
        ConfigError: the number of values is not `count`.
    """
    flags = [prefix] * count if isinstance(prefix, bool) else list(prefix)
    if len(flags) != count:
        raise ConfigError(
            f"prefix should have one value per conversation ({count}). Got {len(flags)}."
        )
    return flags


def batch_slices(count: int, config: RunnerConfig) -> list[slice]:
    """Split `count` conversations into batches that fit the queue and one pass of the model."""
    size = min(config.batch_size, config.max_queue)
    return [slice(start, start + size) for start in range(0, count, size)]
