from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.scan_threads import in_scan_thread


def cache(entries: int = 4, size: int = 1000) -> BoundedCache[str]:
    return BoundedCache(entries, size, len)


def upper(items: list[str]) -> list[str]:
    return [item.upper() for item in items]


def test_each_key_is_computed_once_and_together() -> None:
    calls: list[list[str]] = []

    def compute(items: list[str]) -> list[str]:
        calls.append(items)
        return upper(items)

    kept = cache()
    assert kept.get("a") is None
    assert kept.get_many({"a": "a", "b": "b"}, compute) == {"a": "A", "b": "B"}
    assert kept.get_many({"b": "b", "c": "c"}, compute) == {"b": "B", "c": "C"}
    assert kept.get_many({"b": "b"}, compute) == {"b": "B"}
    assert kept.get("c") == "C"
    assert calls == [["a", "b"], ["c"]]


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=3)), st.integers(0, 4))
def test_it_is_exact_and_bounded(keys: list[str], entries: int) -> None:
    kept = cache(entries, 8)
    for key in keys:
        assert kept.get_many({key: key}, upper) == {key: key.upper()}
        assert len(kept) <= entries
        assert sum(len(entry) for entry in kept._entries.values()) == kept._bytes <= 8


def test_the_least_recently_used_entry_goes_first() -> None:
    kept = cache(2)
    kept.get_many({"a": "a", "b": "b"}, upper)
    kept.get("a")
    kept.get_many({"c": "c"}, upper)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == ("A", None, "C")


def test_large_entries_push_others_out() -> None:
    kept = cache(4, 8)
    kept.get_many({"aaaa": "aaaa", "bbbb": "bbbb", "c": "c"}, upper)
    assert (kept.get("aaaa"), kept.get("bbbb"), kept.get("c")) == (None, "BBBB", "C")
    assert kept.get_many({"d" * 9: "d" * 9}, upper) == {"d" * 9: "D" * 9}
    assert len(kept) == 0


def test_many_threads_compute_once() -> None:
    started, calls = threading.Barrier(8), []

    def compute(items: list[str]) -> list[str]:
        calls.append(items)
        threading.Event().wait(0.05)
        return upper(items)

    kept = cache()

    def ask(_: int) -> dict[str, str]:
        started.wait()
        return kept.get_many({"a": "a", "b": "b"}, compute)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [{"a": "A", "b": "B"}] * 8
    assert calls == [["a", "b"]]


def test_a_failure_reaches_only_its_caller_and_is_not_kept() -> None:
    entered, release = threading.Event(), threading.Event()

    def fail(items: list[str]) -> list[str]:
        entered.set()
        release.wait(300)
        raise ValueError("no number")

    kept = cache()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get_many, {"a": "a"}, fail)
        entered.wait(300)
        second = pool.submit(kept.get_many, {"a": "a", "b": "b"}, upper)
        release.set()
        with pytest.raises(ValueError, match="no number"):
            first.result(300)
        assert second.result(300) == {"a": "A", "b": "B"}


async def test_a_cancelled_task_no_longer_waits_for_another_thread() -> None:
    entered, release, asking, left = (threading.Event() for _ in range(4))
    kept = cache()

    def slow(items: list[str]) -> list[str]:
        entered.set()
        release.wait(300)
        return upper(items)

    def wait() -> None:
        asking.set()
        try:
            kept.get_many({"a": "a"}, upper)
        finally:
            left.set()

    first = asyncio.ensure_future(in_scan_thread(kept.get_many, {"a": "a"}, slow))
    await asyncio.to_thread(entered.wait, 300)
    second = asyncio.ensure_future(in_scan_thread(wait))
    await asyncio.to_thread(asking.wait, 300)
    second.cancel()
    # Its thread is free although the entry is still being computed.
    assert await asyncio.to_thread(left.wait, 60)
    release.set()
    assert await first == {"a": "A"}


def test_what_is_not_kept_is_not_given_to_others() -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(items: list[str]) -> list[str]:
        entered.set()
        release.wait(300)
        return ["not kept" for _ in items]

    kept = BoundedCache(4, 1000, len, lambda entry: entry != "not kept")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get_many, {"a": "a"}, slow)
        entered.wait(300)
        second = pool.submit(kept.get_many, {"a": "a"}, upper)
        release.set()
        assert first.result(300) == {"a": "not kept"}
        assert second.result(300) == {"a": "A"}
    kept.put("b", "not kept")
    assert (len(kept), kept.get("b")) == (1, None)
