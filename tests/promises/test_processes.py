"""What spawned and forked processes may do with a guard."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from guardalign_middleware import GuardError, ImageGuard
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.testing import EchoRunner, picture, red_chain, red_config, red_guard
from tests.support.processes import scan, scan_and_fork


@pytest.mark.evidence
def test_spawned_children_load_again_and_forked_ones_are_refused_after_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # More threads of torch than one would not survive the fork.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    guard = LazyGuard("mini")
    assert scan(guard) == "allow"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        seen = pool.submit(scan_and_fork, guard).result()
    assert seen == {"forked before use": "allow", "here": "allow", "forked after use": "process"}
    assert scan(guard) == "allow"


class TestAfterAFork:
    """The process number changes; nothing is forked here, since pytest has threads."""

    @pytest.fixture
    def used(self, monkeypatch: pytest.MonkeyPatch) -> ImageGuard:
        guard = red_guard()
        guard.scan(picture())
        here = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: here + 1)
        return guard

    def test_nothing_is_scanned_nor_answered(self, used: ImageGuard) -> None:
        runner = EchoRunner()
        chain = red_chain(runner=runner)
        chain.guard = used
        for call in (
            lambda: used.scan(picture()),
            lambda: used.sanitize(picture()),
            lambda: chain.invoke("only words"),
            lambda: chain.stream("only words"),
        ):
            with pytest.raises(GuardError, match="forked") as caught:
                call()
            assert "spawn" in caught.value.remedy
            assert caught.value.stage == "process"
        assert runner.calls == []

    def test_fail_open_does_not_open_this(self, monkeypatch: pytest.MonkeyPatch) -> None:
        guard = red_guard(red_config(on_fault="allow"))
        guard.scan(picture())
        here = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: here + 1)
        with pytest.raises(GuardError, match="forked"):
            guard.scan(picture())
