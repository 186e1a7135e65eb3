"""Asynchronous calls from blocking code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_in_own_loop(call: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine to its end in a thread with its own event loop, also from inside a loop.

    For the network: in a loop one deadline covers everything. A blocking client can only limit
    single reads, of which a slow server can cause many.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="guardalign-loop") as executor:
        return executor.submit(lambda: asyncio.run(call())).result()
