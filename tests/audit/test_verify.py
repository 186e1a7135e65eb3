from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from guardalign_middleware.audit import AuditLog, AuditReport, Head, read_entries, verify
from guardalign_middleware.errors import AuditError
from tests.support.audit_logs import KEY, OTHER_KEY, head_of, verdict_number, write


def kinds(report: AuditReport) -> set[str]:
    return {problem.kind for problem in report.problems}


class TestVerify:
    def test_an_intact_log(self, log: Path) -> None:
        report = verify(log, KEY)
        assert report.intact
        assert report.entries == 6
        *_, last = read_entries(log, KEY)
        assert report.head == Head(6, last.mac)
        assert Head.parse(str(report.head)) == report.head
        assert verify(log, KEY, anchor=report.head).intact

    def test_a_log_with_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        entry = write(path, 1)[0]
        assert verify(path, KEY).head == Head(1, entry.mac)

    def test_with_another_key_every_line_is_a_problem_and_few_are_reported(self, log: Path) -> None:
        report = verify(log, OTHER_KEY)
        assert report.head is None
        assert [problem.line for problem in report.problems if problem.kind == "edited"] == [
            1, 2, 3, 4, 5, 6,
        ]  # fmt: skip
        log.write_bytes(log.read_bytes() * 40)
        assert len(verify(log, OTHER_KEY).problems) == 100

    @pytest.mark.parametrize(
        ("change", "kind", "line"),
        [
            (lambda lines: [*lines[:2], *lines[3:]], "out_of_order", 3),
            (lambda lines: lines[1:], "out_of_order", 1),
            (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "out_of_order", 3),
            (lambda lines: [*lines[:3], lines[2], *lines[3:]], "out_of_order", 4),
            (lambda lines: [*lines, lines[5]], "out_of_order", 7),
            (lambda lines: [*lines[:3], b"\n", *lines[3:]], "malformed", 4),
            (lambda lines: [b"\xff\xfe" + lines[0], *lines[1:]], "malformed", 1),
            (lambda lines: [*lines[:5], lines[5].replace(b":", b": ", 1)], "malformed", 6),
            (lambda lines: [*lines[:5], b"[" * 60_000 + b"\n"], "malformed", 6),
            (lambda lines: [*lines[:5], b"x" * 70_000 + b"\n"], "malformed", 6),
            (lambda lines: [lines[0].replace(b'"allow"', b'"block"'), *lines[1:]], "edited", 1),
            (lambda lines: [*lines[:5], lines[5][:-1]], "incomplete", 6),
            (lambda lines: [*lines[:5], lines[5][:40]], "incomplete", 6),
            (lambda lines: lines[:5], "cut", None),
            (lambda lines: [], "cut", None),
        ],
    )
    def test_each_kind_of_change_is_named(
        self, log: Path, change: Callable[[list[bytes]], list[bytes]], kind: str, line: int | None
    ) -> None:
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(change(lines)))
        report = verify(log, KEY)
        assert (kind, line) in {(problem.kind, problem.line) for problem in report.problems}
        assert report.head is None
        if kind != "cut":
            with pytest.raises(AuditError, match="fails verification"):
                list(read_entries(log, KEY))

    @pytest.mark.parametrize(
        "change",
        [
            lambda data: data[:-1],
            lambda data: data[: data.rindex(b"\n", 0, -1) + 1],
            lambda data: data + b"\n",
            lambda data: data + data[data.rindex(b"\n", 0, -1) + 1 :][:-1],
            lambda data: data.replace(b'"number":5', b'"number":4'),
            lambda data: data + b"x" * 70_000,
            lambda data: b"",
        ],
    )
    def test_nothing_is_appended_where_the_end_was_changed(
        self, log: Path, change: Callable[[bytes], bytes]
    ) -> None:
        """It would give the log a valid end again."""
        changed = change(log.read_bytes())
        log.write_bytes(changed)
        with pytest.raises(AuditError, match="Nothing is appended") as caught:
            write(log, 1)
        assert "guardalign audit verify" in caught.value.remedy
        assert log.read_bytes() == changed

    def test_a_line_of_another_log_with_the_same_key_does_not_fit(self, log: Path) -> None:
        other = log.with_name("other")
        write(other, 6)
        lines = log.read_bytes().splitlines(keepends=True)
        lines[3] = other.read_bytes().splitlines(keepends=True)[3]
        log.write_bytes(b"".join(lines))
        assert kinds(verify(log, KEY)) == {"out_of_order"}

    def test_a_head_that_is_gone_damaged_or_forged_is_told(self, log: Path) -> None:
        head = head_of(log)
        content = head.read_bytes()
        forged = content.replace(b'"entries":6', b'"entries":5')
        for damaged in (None, b"", forged, content[:-2], b"{}\n"):
            head.unlink() if damaged is None else head.write_bytes(damaged)
            assert kinds(verify(log, KEY)) == {"head"}
            with pytest.raises(AuditError, match="Nothing is appended"):
                write(log, 1)

    def test_a_restored_head_is_reported(self, log: Path) -> None:
        old = head_of(log).read_bytes()
        write(log, 2)
        head_of(log).write_bytes(old)
        assert kinds(verify(log, KEY)) == {"head"}
        with pytest.raises(AuditError, match="Nothing is appended"):
            write(log, 1)

    def test_only_an_anchor_shows_that_both_files_were_restored(self, log: Path) -> None:
        before = (log.read_bytes(), head_of(log).read_bytes())
        write(log, 2)
        anchor = verify(log, KEY).head
        log.write_bytes(before[0])
        head_of(log).write_bytes(before[1])
        assert verify(log, KEY).intact, "the documented limit"
        assert kinds(verify(log, KEY, anchor=anchor)) == {"cut"}
        # A new history of the same length, made with the key.
        write(log, 2)
        assert verify(log, KEY).intact
        assert kinds(verify(log, KEY, anchor=anchor)) == {"head"}

    def test_an_anchor_stays_good_while_the_log_grows(self, log: Path) -> None:
        anchor = verify(log, KEY).head
        write(log, 3)
        assert verify(log, KEY, anchor=anchor).entries == 9

    def test_with_an_anchor_a_copy_needs_no_head(self, log: Path) -> None:
        anchor = verify(log, KEY).head
        head_of(log).unlink()
        assert verify(log, KEY, anchor=anchor).intact
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:5]))
        assert kinds(verify(log, KEY, anchor=anchor)) == {"cut"}

    def test_a_crash_between_the_two_files_is_not_tampering(self, log: Path) -> None:
        old = head_of(log).read_bytes()
        write(log, 1)
        head_of(log).write_bytes(old)
        assert verify(log, KEY).entries == 7
        write(log, 1)
        assert verify(log, KEY).entries == 8

    def test_a_log_that_is_not_there_cannot_be_checked(self, tmp_path: Path) -> None:
        for path in (tmp_path / "absent", tmp_path):
            with pytest.raises(AuditError, match="Cannot read"):
                verify(path, KEY)
            with pytest.raises(AuditError, match="Cannot read"):
                list(read_entries(path, KEY))

    def test_only_regular_files_are_read_and_written(self, log: Path, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        (tmp_path / "null").symlink_to("/dev/null")
        for path in (pipe, tmp_path / "null"):
            with pytest.raises(AuditError, match="not a regular file"):
                verify(path, KEY)
            with pytest.raises(AuditError, match="not a regular file"):
                write(path, 1)
        head_of(log).unlink()
        os.mkfifo(head_of(log))
        for use in (lambda: verify(log, KEY), lambda: write(log, 1)):
            with pytest.raises(AuditError, match="not a regular file"):
                use()

    def test_writing_goes_on_while_it_is_read(self, log: Path) -> None:
        for entry in read_entries(log, KEY):
            AuditLog(log, KEY).append(verdict_number(entry.number))
        assert verify(log, KEY).entries == 12


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "log"
    write(path, 5)
    return path


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_change_of_the_bytes_is_found(original: Path, data: st.DataObject) -> None:
    before = original.read_bytes()
    after = bytearray(before)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(after) - 1))
        span = data.draw(st.integers(0, 3))
        after[place : place + span] = data.draw(st.binary(max_size=3))
        assume(after)
    assume(bytes(after) != before)
    assert_found(original, bytes(after))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
@pytest.mark.slow
def test_any_change_of_the_lines_is_found(original: Path, data: st.DataObject) -> None:
    lines = original.read_bytes().splitlines(keepends=True)
    chosen = data.draw(st.lists(st.sampled_from(range(len(lines))), max_size=8))
    assume(chosen != list(range(len(lines))))
    assert_found(original, b"".join(lines[number] for number in chosen))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_change_of_a_field_is_found(original: Path, data: st.DataObject) -> None:
    """Also when the line is spelt as this program would spell it."""
    lines = original.read_bytes().splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 1))
    record = json.loads(lines[number])
    name = data.draw(st.sampled_from(sorted(record)))
    record[name] = data.draw(
        st.one_of(st.none(), st.integers(0, 9), st.floats(0, 1), st.text(max_size=5))
    )
    lines[number] = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assume(b"".join(lines) != original.read_bytes())
    assert_found(original, b"".join(lines))


def assert_found(original: Path, changed: bytes) -> None:
    copy = original.with_name("copy")
    copy.write_bytes(changed)
    head_of(copy).write_bytes(head_of(original).read_bytes())
    report = verify(copy, KEY)
    assert not report.intact
    assert report.head is None
