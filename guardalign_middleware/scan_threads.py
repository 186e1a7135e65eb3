"""Calling the guard from an event loop, so that a cancelled task gives up its turn."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_MAX_THREADS = 256


class Caller:
    """A call of the guard that can be cancelled while it waits for its turn."""

    def __init__(self) -> None:
        self._cancelled = False
        self._leave: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Give up the turn; a scan that has begun ends with its picture."""
        # Marked first: a thread that calls `waits` afterwards sees it in `check`.
        self._cancelled = True
        leave = self._leave
        if leave is not None:
            leave()

    def waits(self, leave: Callable[[], None] | None) -> None:
        """Note how to leave the queue, or with None that the call waits no longer."""
        self._leave = leave

    def check(self) -> None:
        """Stop a cancelled call.

        Raises:
            asyncio.CancelledError: the task of this call was cancelled.
        """
        if self._cancelled:
            raise asyncio.CancelledError


_CALLER: ContextVar[Caller | None] = ContextVar("guardalign_caller", default=None)


def current_caller() -> Caller:
    """The call that runs in this thread; one that is never cancelled outside an event loop."""
    return _CALLER.get() or Caller()


async def in_scan_thread(
    call: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """`asyncio.to_thread` for calls that scan images.

    Waiting scans have threads of their own. The few threads of the default executor stay free for
    the answers to images that have been scanned. A task that is cancelled gives up its turn.
    """
    caller = Caller()
    context = copy_context()
    context.run(_CALLER.set, caller)
    work = partial(context.run, call, *args, **kwargs)
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads(), work)
    except asyncio.CancelledError:
        caller.cancel()
        raise


_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="guardalign-scan")
    return _pool


def _forget_threads() -> None:
    """A forked child has none of the threads of its parent."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
