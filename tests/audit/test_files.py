"""A log in several files: closed by the program, or renamed by a log rotator."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import guardalign_middleware.audit.log as log_module
from guardalign_middleware.audit import AuditLog, Head, read_entries, verify
from guardalign_middleware.errors import AuditError
from tests.support.audit_logs import KEY, head_of, verdict_number, write, write_unnamed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def split(path: Path) -> Path:
    """A log of nine lines in several files."""
    write(path, 9, rotate_bytes=1_400)
    assert len(closed(path)) > 2
    return path


def closed(path: Path) -> list[Path]:
    return sorted(path.parent.glob("audit.jsonl.0*"))


class TestClosing:
    def test_no_file_grows_larger_and_the_chain_goes_on(self, split: Path) -> None:
        assert all(file.stat().st_size <= 1_400 for file in [*closed(split), split])
        report = verify(split, KEY)
        assert report.intact
        assert report.entries == 9
        assert [file.name for file in report.files] == [file.name for file in closed(split)] + [
            split.name
        ]
        assert sum(file.entries for file in report.files) == 9
        assert [entry.number for entry in read_entries(split, KEY)] == list(range(9))
        # The name says which line is the last.
        for file in report.files[:-1]:
            assert file.head is not None
            assert file.name == f"audit.jsonl.{file.head.entries:012d}"

    def test_each_day_has_a_file_and_a_clock_set_back_begins_none(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Clock(datetime):
            day = 1

            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return datetime(2026, 11, cls.day, tzinfo=UTC)

        monkeypatch.setattr(log_module, "datetime", Clock)
        for day in (1, 1, 2, 1, 2, 4):
            Clock.day = day
            write(path, 1, rotate_daily=True)
        report = verify(path, KEY)
        assert report.intact
        assert [file.entries for file in report.files] == [2, 2, 1, 1]

    def test_a_name_that_is_taken_is_not_overwritten(self, path: Path) -> None:
        write(path, 1)
        taken = path.with_name("audit.jsonl.000000000001")
        taken.write_bytes(b"mine")
        with pytest.raises(AuditError, match="that file exists") as caught:
            write(path, 1, rotate_bytes=1)
        assert caught.value.remedy
        assert taken.read_bytes() == b"mine"

    def test_threads_close_files_together(self, path: Path) -> None:
        def work() -> None:
            write(path, 15, rotate_bytes=3_000)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if path.exists():
                assert verify(path, KEY).intact
        assert verify(path, KEY).entries == 60


class TestTampering:
    @pytest.mark.parametrize(
        "change",
        [
            lambda files: files[1].unlink(),
            lambda files: files[0].unlink(),
            lambda files: files[1].write_bytes(files[1].read_bytes()[:-5]),
            lambda files: files[1].write_bytes(
                b"".join(files[1].read_bytes().splitlines(True)[:1])
            ),
            lambda files: files[1].write_bytes(files[1].read_bytes().replace(b"allow", b"block")),
            lambda files: files[0].write_bytes(files[1].read_bytes()),
            lambda files: files[0].rename(files[0].with_name("audit.jsonl.000000000099")),
            lambda files: files[-1].unlink(),
        ],
    )
    def test_a_change_of_a_closed_file_is_found(
        self, split: Path, change: Callable[[list[Path]], None]
    ) -> None:
        change(closed(split))
        assert not verify(split, KEY).intact
        with pytest.raises(AuditError, match="fails verification"):
            list(read_entries(split, KEY))

    def test_without_the_present_file_lines_are_missing(self, split: Path) -> None:
        split.unlink()
        assert {problem.kind for problem in verify(split, KEY).problems} == {"cut"}
        with pytest.raises(AuditError, match="no file beside it ends with line 9"):
            write(split, 1)

    def test_nothing_begins_anew_beside_closed_files(self, split: Path) -> None:
        split.unlink()
        head_of(split).unlink()
        with pytest.raises(AuditError, match=r"head is missing"):
            write(split, 1)


class TestFilesThatWereMovedAway:
    def test_the_head_at_their_end_is_the_start(self, split: Path) -> None:
        moved = verify(split, KEY).files[1]
        for file in closed(split)[:2]:
            file.unlink()
        report = verify(split, KEY)
        assert [(one.kind, one.line) for one in report.problems] == [("out_of_order", 1)]
        assert f"the {moved.head.entries} lines before it are missing" in str(report.problems[0])  # type: ignore[union-attr]
        after = verify(split, KEY, start=moved.head)
        assert after.intact
        assert after.entries == 9 - moved.head.entries  # type: ignore[union-attr]
        assert after.head is not None
        assert after.head.entries == 9
        assert len(list(read_entries(split, KEY, start=moved.head))) == after.entries
        assert verify(split, KEY, start=moved.head, anchor=after.head).intact
        wrong = Head(moved.head.entries, "1" * 64)  # type: ignore[union-attr]
        assert not verify(split, KEY, start=wrong).intact

    def test_a_closed_file_is_checked_alone(self, split: Path, tmp_path: Path) -> None:
        first, second, *_ = verify(split, KEY).files
        (tmp_path / "away").mkdir()
        file = shutil.copy(closed(split)[1], tmp_path / "away")
        assert verify(file, KEY, start=first.head, anchor=second.head).intact
        assert not verify(file, KEY, start=first.head).intact
        assert first.head is not None
        with pytest.raises(AuditError, match="older than the start"):
            verify(file, KEY, start=second.head, anchor=first.head)


class TestRotator:
    @pytest.mark.parametrize("name", ["audit.jsonl.1", "audit.jsonl-20261128", "audit.1.jsonl"])
    def test_a_renamed_log_goes_on_in_a_new_file(self, log: Path, name: str) -> None:
        head = head_of(log).read_bytes()
        log.rename(log.with_name(name))
        assert verify(log, KEY).entries == 6
        write(log, 2)
        assert verify(log, KEY).entries == 8
        assert [entry.number for entry in read_entries(log, KEY)] == list(range(8))
        assert head != head_of(log).read_bytes()

    def test_again_and_again(self, path: Path) -> None:
        for round_number in range(4):
            write(path, 2)
            for number in range(round_number, 0, -1):
                old = path.with_name(f"audit.jsonl.{number}")
                old.rename(path.with_name(f"audit.jsonl.{number + 1}"))
            path.rename(path.with_name("audit.jsonl.1"))
            path.touch()  # logrotate's `create`
        assert verify(path, KEY).entries == 8
        path.with_name("audit.jsonl.3").unlink()
        assert not verify(path, KEY).intact

    def test_renamed_after_a_crash(self, log: Path) -> None:
        write_unnamed(log)
        log.rename(log.with_name("audit.jsonl.1"))
        assert verify(log, KEY).entries == 7
        write(log, 1)
        assert verify(log, KEY).entries == 8

    def test_renamed_with_an_unfinished_line(self, log: Path) -> None:
        log.write_bytes(log.read_bytes() + b'{"categ')
        log.rename(log.with_name("audit.jsonl.1"))
        write(log, 1)
        report = verify(log, KEY)
        assert report.intact
        assert (report.entries, report.unfinished) == (7, 7)

    def test_copied_and_emptied(self, log: Path) -> None:
        shutil.copy(log, log.with_name("audit.jsonl.1"))
        log.write_bytes(b"")
        write(log, 1)
        assert verify(log, KEY).entries == 7

    def test_moved_out_of_sight_is_refused_in_words(self, log: Path, tmp_path: Path) -> None:
        (tmp_path / "old").mkdir()
        log.rename(tmp_path / "old" / "audit.jsonl.1")
        with pytest.raises(AuditError, match="no file beside it ends with line 6") as caught:
            write(log, 1)
        assert "put it back beside this file" in caught.value.remedy
        (tmp_path / "old" / "audit.jsonl.1").rename(log.with_name("audit.jsonl.1"))
        write(log, 1)
        assert verify(log, KEY).entries == 7

    def test_a_copy_beside_the_log_is_no_part_of_it(self, log: Path) -> None:
        shutil.copy(log, log.with_name("audit.jsonl.bak"))
        write(log, 1)
        assert verify(log, KEY).entries == 7

    def test_while_writers_write(self, path: Path) -> None:
        def work() -> None:
            log = AuditLog(path, KEY)
            for seed in range(15):
                log.append(verdict_number(seed))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        moved = 0
        while any(thread.is_alive() for thread in threads):
            if path.exists() and path.stat().st_size:
                moved += 1
                path.rename(path.with_name(f"audit.jsonl.{moved}"))
        for thread in threads:
            thread.join()
        assert verify(path, KEY).intact
        assert verify(path, KEY).entries == 45
