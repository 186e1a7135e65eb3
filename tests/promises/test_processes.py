"""What spawned and forked processes may do with a guard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guardalign_middleware import GuardError, ImageGuard
from guardalign_middleware.testing import EchoRunner, picture, red_chain, red_config, red_guard

ROOT = Path(__file__).parents[2]
SCRIPT = '''
import multiprocessing, os, warnings
import numpy as np
from guardalign_middleware.errors import GuardError
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.types import CanonicalImage

IMAGE = CanonicalImage(np.full((128, 128, 3), 90, np.uint8))


def scan(guard):
    return guard.get().scan(IMAGE).decision


def forked(guard):
    """What a forked child says; it gets two minutes."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = scan(guard)
        except GuardError as error:
            answer = error.stage
        os.write(write, answer.encode())
        os._exit(0)
    os.waitpid(child, 0)
    return os.read(read, 100).decode()


if __name__ == "__main__":
    guard = LazyGuard("mini")
    guard.get()
    print("forked before use:", forked(guard), flush=True)
    print("parent:", scan(guard), flush=True)
    print("forked after use:", forked(guard), flush=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("spawned:", pool.apply(scan, (guard,)), flush=True)
    print("parent again:", scan(guard), flush=True)
'''


@pytest.mark.slow
def test_spawned_children_load_again_and_forked_ones_are_refused_after_use(tmp_path: Path) -> None:
    script = tmp_path / "processes.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.splitlines() == [
        "forked before use: allow",
        "parent: allow",
        "forked after use: process",
        "spawned: allow",
        "parent again: allow",
    ], done.stderr


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
