"""Scans for an event loop have threads of their own, which end with them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from guardalign_middleware import scan_threads
from guardalign_middleware.errors import Overloaded
from guardalign_middleware.scan_threads import ScanThreads, in_scan_thread


async def test_a_thread_ends_with_its_scan() -> None:
    """Kept, each would keep as many threads of OpenMP as there are cores."""
    at_once = threading.Barrier(3)

    def scan() -> threading.Thread:
        at_once.wait(30)
        return threading.current_thread()

    threads = [
        thread
        for _ in range(2)
        for thread in await asyncio.gather(*(in_scan_thread(scan) for _ in range(3)))
    ]
    for thread in threads:
        thread.join(30)
    assert len(set(threads)) == 6
    assert not any(thread.is_alive() for thread in threads)


def test_more_than_fit_wait_in_order() -> None:
    threads = ScanThreads(2)
    go, begun = threading.Event(), threading.Semaphore(0)
    order: list[int] = []
    most: list[int] = []

    def scan(number: int) -> int:
        order.append(number)
        most.append(sum(t.name == "scan of a test" for t in threading.enumerate()))
        begun.release()
        go.wait(30)
        return number

    def named(number: int) -> int:
        threading.current_thread().name = "scan of a test"
        return scan(number)

    first = [threads.submit(named, number) for number in range(2)]
    for _ in first:
        begun.acquire(timeout=30)
    later = [threads.submit(named, number) for number in range(2, 6)]
    assert later[0].cancel()
    go.set()
    assert [each.result(30) for each in (*first, *later[1:])] == [0, 1, 3, 4, 5]
    assert sorted(order) == [0, 1, 3, 4, 5]
    assert order.index(3) < order.index(5)


def test_an_error_reaches_its_caller_alone() -> None:
    threads = ScanThreads(1)

    def fail() -> None:
        raise KeyboardInterrupt

    failed, fine = threads.submit(fail), threads.submit(lambda: "fine")
    with pytest.raises(KeyboardInterrupt):
        failed.result(30)
    assert fine.result(30) == "fine"


async def test_without_room_for_a_thread_the_guard_is_overloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class None_(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    threads = ScanThreads(1)
    monkeypatch.setattr(scan_threads, "_threads", lambda: threads)
    with monkeypatch.context() as limit:
        limit.setattr(scan_threads, "Thread", None_)
        with pytest.raises(Overloaded, match="no room for another thread") as caught:
            await in_scan_thread(int)
    assert "pids_limit" in caught.value.remedy
    assert await in_scan_thread(int) == 0, "the place is free again"


def test_what_waits_runs_where_no_other_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = ScanThreads(1)
    go = threading.Event()
    first = threads.submit(go.wait, 30)
    waiting = [threads.submit(int), threads.submit(int)]

    def full(work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_start", full)
    go.set()
    assert [each.result(30) for each in (first, *waiting)] == [True, 0, 0]


_SCANS = """
import asyncio, time, torch
from guardalign_middleware.scan_threads import in_scan_thread

torch.set_num_threads(4)
numbers = torch.zeros(400_000)

def scan():
    numbers + 1  # in parallel

def count():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if "Threads" in line)

async def main():
    await asyncio.gather(*(in_scan_thread(scan) for _ in range(24)))

scan()
before = count()
asyncio.run(main())
for _ in range(600):
    if count() <= before:
        break
    time.sleep(0.1)  # threads of the system end a little later
else:
    raise SystemExit(f"There were {before} threads, and {count()} stay.")
"""


@pytest.mark.evidence
@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_no_thread_of_openmp_stays() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCANS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
