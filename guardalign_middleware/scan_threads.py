"""Calling the guard from an event loop, so that a cancelled task gives up its turn."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Lock, Thread
from typing import ParamSpec, TypeVar

from guardalign_middleware.errors import Overloaded

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

    Waiting scans have threads of their own, and the few of the default executor stay free for the
    answers to images that have been scanned. A task that is cancelled gives up its turn.
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


class ScanThreads(Executor):
    """Runs each call in a new thread, which ends with it.

    A thread that has scanned on a CPU keeps a team of OpenMP's threads, one for each core, until
    it ends. Kept for later calls, they would add up to more than a container may have, where
    OpenMP ends the process.

    Args:
        most: threads at once; more calls wait, in order.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._running = 0
        self._waiting: deque[Callable[[], None]] = deque()

    def submit(
        self,
        call: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Future[Result]:
        """Call it in a thread of its own.

        Raises:
            Overloaded: the process may have no more threads.
        """
        future: Future[Result] = Future()
        work = partial(_settle, future, partial(call, *args, **kwargs))
        with self._lock:
            if self._running == self._most:
                self._waiting.append(work)
                return future
            try:
                self._start(work)
            except RuntimeError as error:
                raise Overloaded(
                    f"There is no room for another thread beside {self._running} scans.",
                    stage="detection",
                    remedy="Raise the limit of threads (pids_limit, TasksMax or ulimit -u), or "
                    "send fewer requests at once.",
                ) from error
            self._running += 1
        return future

    def _start(self, work: Callable[[], None]) -> None:
        Thread(target=self._run, args=(work,), name="guardalign-scan").start()

    def _run(self, work: Callable[[], None] | None) -> None:
        while work is not None:
            work()
            work = self._next()
            if work is not None:
                try:
                    return self._start(work)
                except RuntimeError:
                    pass  # at the limit, or while the program ends: in this one

    def _next(self) -> Callable[[], None] | None:
        """The call that waits longest; None if none waits, and the calling thread ends."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._running -= 1
            return None


def _settle(future: Future[Result], call: Callable[[], Result]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 (raised again where the result is awaited)
        future.set_exception(error)
    else:
        future.set_result(result)
    finally:
        del future, call  # an error holds this frame, and that pictures


_pool: ScanThreads | None = None


def _threads() -> ScanThreads:
    global _pool
    if _pool is None:
        _pool = ScanThreads(_MAX_THREADS)
    return _pool


def _forget_threads() -> None:
    """A forked child has none of the threads of its parent."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
