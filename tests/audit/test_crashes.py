"""A stopped writer and a full disk: the log goes on, and `verify` does not cry tampering."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardalign_middleware.audit import AuditLog, read_entries, verify
from guardalign_middleware.audit.lines import EMPTY, Head, could_follow
from guardalign_middleware.errors import AuditError
from guardalign_middleware.types import WordsRead
from tests.support.audit_logs import KEY, head_of, verdict_number, write, write_unnamed


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("plain", "byte"),
        ("plain", "disk"),
        ("rotating", "byte"),
        *(
            pytest.param(kind, how, marks=pytest.mark.evidence)
            for kind in ("plain", "rotating", "behind", "unfinished", "durable")
            for how in ("line", "byte", "disk")
            if (kind, how) not in {("plain", "byte"), ("plain", "disk"), ("rotating", "byte")}
        ),
    ],
)
def test_wherever_a_writer_is_stopped_the_log_goes_on(tmp_path: Path, kind: str, how: str) -> None:
    """Killed before each line of its code or after so many bytes, or its disk is full."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.audit_crash", str(tmp_path), kind, how],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["wrong"] == []
    assert result["done"]
    assert result["stopped"] > 10


@pytest.fixture
def next_line(log: Path) -> bytes:
    """The line after the six of the log, which is left as it was."""
    line = write_unnamed(log)
    os.truncate(log, log.stat().st_size - len(line))
    return line


class TestUnfinishedLine:
    @pytest.mark.parametrize(
        "left",
        [
            lambda line: line[:1],
            lambda line: line[:300],
            lambda line: line[:-1],
            lambda line: bytes(4096),  # a power failure: the length of the file is on the disk
            lambda line: line[:100] + bytes(700),
            lambda line: line[:100] + bytes(100) + line[200:],
        ],
    )
    def test_it_is_no_tampering_and_is_cut_off(
        self,
        log: Path,
        next_line: bytes,
        left: Callable[[bytes], bytes],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        data = left(next_line)
        log.write_bytes(log.read_bytes() + data)
        report = verify(log, KEY)
        assert report.intact
        assert (report.entries, report.unfinished) == (6, len(data))
        assert len(list(read_entries(log, KEY))) == 6
        with caplog.at_level(logging.WARNING):
            write(log, 1)
        assert f"Its {len(data)} bytes were cut off" in caplog.text
        assert (verify(log, KEY).entries, verify(log, KEY).unfinished) == (7, 0)

    @pytest.mark.parametrize(
        "left",
        [
            lambda log, line: b"x",
            lambda log, line: b"\n",
            lambda log, line: line.replace(b'"number":6', b'"number":7')[:-1],
            lambda log, line: line[:-2] + b',"z":1',
            lambda log, line: log.splitlines()[-1],
            lambda log, line: line[:100] + b"\n",
            lambda log, line: line.replace(b'"allow"', b'"block"'),
            lambda log, line: line + line[:50],
            lambda log, line: bytes(70_000),
        ],
    )
    def test_what_no_crash_can_leave_is_reported_and_stops_the_log(
        self, log: Path, next_line: bytes, left: Callable[[bytes, bytes], bytes]
    ) -> None:
        changed = log.read_bytes() + left(log.read_bytes(), next_line)
        log.write_bytes(changed)
        assert not verify(log, KEY).intact
        with pytest.raises(AuditError, match="Nothing is appended"):
            write(log, 1)
        assert log.read_bytes() == changed

    @pytest.mark.parametrize("cut", [1, 100, 500])
    def test_half_of_a_recorded_line_is_tampering(self, log: Path, cut: int) -> None:
        """Only the head tells this from a crash."""
        log.write_bytes(log.read_bytes()[:-cut])
        report = verify(log, KEY)
        assert {problem.kind for problem in report.problems} == {"incomplete", "cut"}
        with pytest.raises(AuditError, match="fails verification"):
            list(read_entries(log, KEY))
        with pytest.raises(AuditError, match="Nothing is appended"):
            write(log, 1)

    def test_without_a_head_it_is_unknown_whether_it_was_recorded(
        self, log: Path, next_line: bytes
    ) -> None:
        anchor = verify(log, KEY).head
        log.write_bytes(log.read_bytes() + next_line[:100])
        head_of(log).unlink()
        assert {one.kind for one in verify(log, KEY, anchor=anchor).problems} == {"incomplete"}

    @settings(deadline=None)
    @given(st.sampled_from(range(4)), st.binary(max_size=40), st.integers(0, 1_300))
    def test_only_the_beginning_of_the_next_line_could_follow(
        self, kind: int, junk: bytes, end: int
    ) -> None:
        line = LINES[kind][:end]
        assert could_follow(line, EMPTY)
        assert could_follow(line + b"\0" + junk, EMPTY)
        assert not could_follow(line[:20] + b"\n" + junk, EMPTY)
        if end > 600:
            assert not could_follow(line, Head(1, "1" * 64))

    @pytest.mark.parametrize("kind", [2, 3])
    def test_what_was_observed_is_spelled_in_json(self, kind: int) -> None:
        line = LINES[kind]
        assert b'"would_be":{' in line
        assert all(could_follow(line[:end], EMPTY) for end in range(len(line)))
        begun = line[: line.index(b'"distances"')]
        for odd in (b'"dist\x01', b" ", b"true", b"\n\n", b"nil", '"\u00e9'.encode()):
            assert not could_follow(begun + odd, EMPTY)


_READ = WordsRead(2, 7, 1, "0" * 64, "reader")
_OBSERVED: dict[str, Any] = {"decision": "observe", "would_be": "mask"}
LINES = [
    AuditLog("unused", KEY)._entry(replace(verdict_number(2), **changes), EMPTY).to_line()
    for changes in ({}, {"words": _READ}, _OBSERVED, {"words": _READ, **_OBSERVED})
]


class TestFullDisk:
    def test_head_after_head_cannot_be_written(
        self, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It left a line without its head each time, and after two the log was spoiled."""
        before = log.read_bytes()
        replace = os.replace

        def full(*paths: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        for _ in range(3):
            with pytest.raises(AuditError, match="No space left on device"):
                write(log, 1)
            assert log.read_bytes() == before
        monkeypatch.setattr(os, "replace", replace)
        write(log, 1)
        assert verify(log, KEY).entries == 7

    def test_a_line_whose_head_was_written_stays(
        self, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An alarm's handler may raise just then; without its line, the head would cry."""
        replace = os.replace

        def late(*paths: str) -> None:
            replace(*paths)
            raise TimeoutError

        monkeypatch.setattr(os, "replace", late)
        with pytest.raises(AuditError):
            write(log, 1)
        assert verify(log, KEY).entries == 7


def test_a_guard_that_starts_completes_what_was_left(log: Path, next_line: bytes) -> None:
    log.write_bytes(log.read_bytes() + next_line)  # whole, but its head is not written
    AuditLog(log, KEY).recover()
    assert b'"entries":7' in head_of(log).read_bytes()
    log.write_bytes(log.read_bytes() + b"{")
    AuditLog(log, KEY).recover()
    assert verify(log, KEY).unfinished == 0


def test_a_guard_that_starts_leaves_a_log_that_is_intact(log: Path) -> None:
    before = log.read_bytes(), head_of(log).read_bytes()
    AuditLog(log, KEY).recover()
    assert (log.read_bytes(), head_of(log).read_bytes()) == before
    new = log.with_name("new")
    AuditLog(new, KEY).recover()
    assert verify(new, KEY).entries == 0
    assert new.stat().st_mode & 0o777 == 0o600
