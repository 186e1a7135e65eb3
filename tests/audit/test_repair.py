"""`guardalign audit repair`: it cuts off what is no line, says what it was, and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from guardalign_middleware.audit import repair, verify
from guardalign_middleware.cli import app
from guardalign_middleware.errors import AuditError
from tests.support.audit_logs import KEY, OTHER_KEY, head_of, write, write_unnamed


@pytest.mark.parametrize("junk", [b"x", b"\n\n", b"hello\n", b"\xff" * 90_000 + b"\n", b"{}\n" * 9])
def test_what_someone_else_wrote_is_cut_off_and_kept(log: Path, junk: bytes) -> None:
    before = log.read_bytes()
    log.write_bytes(before + junk)
    done = repair(log, KEY)
    assert log.read_bytes() == before
    assert (done.entries, done.cut, done.by_crash, done.named) == (6, len(junk), False, False)
    assert done.beginning == junk[:200]
    assert done.kept_in is not None
    assert done.kept_in.read_bytes() == junk
    assert done.kept_in.stat().st_mode & 0o777 == 0o600
    write(log, 1)
    assert verify(log, KEY).entries == 7


def test_what_a_crash_left_is_completed(log: Path) -> None:
    assert repair(log, KEY).cut == 0
    log.write_bytes(log.read_bytes() + b'{"categ')
    done = repair(log, KEY)
    assert (done.cut, done.by_crash) == (7, True)
    write_unnamed(log)
    done = repair(log, KEY)
    assert (done.entries, done.cut, done.named) == (7, 0, True)
    assert verify(log, KEY).entries == 7
    assert not list(log.parent.glob("*.cut-*"))[1:]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data[: data.rindex(b"\n", 0, -1) + 1],
        lambda data: data.replace(b"allow", b"block", 1),
        lambda data: data + data[data.rindex(b"\n", 0, -1) + 1 :],
        lambda data: b"x\n" + data,
        lambda data: b"",
    ],
)
def test_what_no_repair_can_undo_is_left_alone(log: Path, change: Callable[[bytes], bytes]) -> None:
    changed = change(log.read_bytes())
    log.write_bytes(changed)
    with pytest.raises(AuditError, match="Nothing is appended"):
        repair(log, KEY)
    assert log.read_bytes() == changed
    assert not verify(log, KEY).intact


def test_a_restored_head_and_another_key_are_refused(log: Path) -> None:
    old = head_of(log).read_bytes()
    with pytest.raises(AuditError, match="key is different"):
        repair(log, OTHER_KEY)
    write(log, 2)
    head_of(log).write_bytes(old)
    with pytest.raises(AuditError, match="not those that its head names"):
        repair(log, KEY)
    assert len(log.read_bytes().splitlines()) == 8


def test_after_a_file_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 3, rotate_bytes=1)
    path.write_bytes(path.read_bytes() + b"junk")
    assert repair(path, KEY).entries == 3
    path.rename(path.with_name("audit.jsonl.000000000003"))
    path.write_bytes(b"junk")
    assert repair(path, KEY).entries == 3
    assert path.read_bytes() == b""
    assert verify(path, KEY).entries == 3


class TestCommand:
    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, ["audit", "repair", *map(str, arguments)])

    def test_it_says_what_it_cut(self, log: Path, key_file: Path) -> None:
        log.write_bytes(log.read_bytes() + b"\x1b[2J[bold]junk")
        result = self.run(log, "-k", key_file)
        assert result.exit_code == 0
        assert "14 bytes cut off behind line 6, NOT written by this program" in result.stdout
        assert "\\x1b[2J[bold]junk" in result.stdout
        assert ".cut-" in result.stdout
        assert "nothing to repair" in self.run(log, "-k", key_file).stdout

    def test_json(self, log: Path, key_file: Path) -> None:
        log.write_bytes(log.read_bytes() + b"{")
        record = json.loads(self.run(log, "-k", key_file, "--json").stdout)
        assert (record["cut"], record["beginning"], record["by_crash"]) == (1, "{", True)

    def test_the_key_from_a_variable(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AUDIT_KEY", KEY.decode())
        assert self.run(log, "--key-variable", "AUDIT_KEY").exit_code == 0
        for options in ((), ("-k", "x", "--key-variable", "AUDIT_KEY")):
            result = self.run(log, *options)
            assert result.exit_code >= 2
            assert "Exactly one" in result.stderr
        assert not self.run(log.with_name("none"), "--key-variable", "AUDIT_KEY").exit_code == 0
        assert not log.with_name("none.lock").exists()
