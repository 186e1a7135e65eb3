"""Giving up on a download from which nothing comes any more.

The library that fetches files asks for their list without a limit of time, and retries a hub that
answers nothing for minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from huggingface_hub.utils.tqdm import tqdm

T = TypeVar("T")


def unless_stalled(fetch: Callable[[type[tqdm]], T], patience: float) -> T:
    """The result of a download, for as long as something comes.

    It runs in a thread of its own. After the error this is left to itself: what it waits for cannot
    be called off, and what it fetches after all stays in the cache.

    Args:
        fetch: downloads, with the given class of progress bars. They are told of every byte.
        patience: seconds without any before it is given up, within twice as many.

    Raises:
        TimeoutError: nothing came.
        Exception: what `fetch` raised.
    """
    heard = threading.Event()

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            heard.set()  # all is listed now
            super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> Any:
            heard.set()
            return super().update(n)

    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(fetch(Bar))
        except BaseException as error:  # noqa: BLE001 (re-raised in the waiting thread)
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="guardalign-hub").start()
    while not wait([future], patience).done:
        if not heard.is_set():
            raise TimeoutError(f"nothing came for {patience:.3g} s")
        heard.clear()
    return future.result()
