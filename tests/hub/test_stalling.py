from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any, NamedTuple

import pytest

from guardalign_middleware.model_folder import stalling
from guardalign_middleware.model_folder.stalling import unless_stalled


class Waited(NamedTuple):
    done: bool


class Clock:
    """Time that passes when the download has done something, and not before.

    Attributes:
        passed: how often the patience was over.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0
        self._done = threading.Semaphore(0)
        self._goes_on = threading.Semaphore(0)
        monkeypatch.setattr(stalling, "wait", self._wait)

    def _wait(self, futures: list[Future[Any]], patience: float) -> Waited:
        if self.passed:
            self._goes_on.release()
        self._done.acquire()
        self.passed += 1
        return Waited(futures[0].done())

    def over(self, *, last: bool = False) -> None:
        """The patience is over; come back when it begins again."""
        self._done.release()
        if not last:
            self._goes_on.acquire()


def test_it_goes_on_for_as_long_as_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    futures: list[Future[Any]] = []
    real = stalling.Future
    monkeypatch.setattr(stalling, "Future", lambda: futures.append(real()) or futures[0])

    def fetch(kind: type[Any]) -> str:
        bar = kind(total=3, disable=True)
        for _ in range(3):
            clock.over()
            bar.update(1)
        futures[0].add_done_callback(lambda _: clock.over(last=True))
        return "folder"

    assert unless_stalled(fetch, 1.0) == "folder"
    assert clock.passed == 4


def test_it_is_given_up_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, never = Clock(monkeypatch), threading.Event()

    def fetch(kind: type[Any]) -> None:
        kind(total=3, disable=True)
        clock.over()
        clock.over(last=True)
        never.wait(30)

    with pytest.raises(TimeoutError, match="nothing came for 1 s"):
        unless_stalled(fetch, 1.0)
    assert clock.passed == 2
    never.set()


def test_what_it_raises_is_raised() -> None:
    def fetch(kind: type[Any]) -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        unless_stalled(fetch, 60.0)
