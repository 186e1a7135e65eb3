"""`guardalign audit verify`."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from guardalign_middleware.audit import load_key, verify
from guardalign_middleware.cli import app
from tests.support.audit_logs import KEY, write


class TestCommand:
    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, ["audit", "verify", *map(str, arguments)])

    def test_intact_is_0(self, log: Path, key_file: Path) -> None:
        result = self.run(log, "--key-file", key_file)
        assert result.exit_code == 0
        head = str(verify(log, KEY).head)
        assert head in result.stdout
        assert self.run(log, "--key-file", key_file, "--anchor", head).exit_code == 0

    def test_tampered_is_1_and_names_the_line(self, log: Path, key_file: Path) -> None:
        log.write_bytes(log.read_bytes().replace(b'"allow"', b'"block"', 1))
        result = self.run(log, "--key-file", key_file)
        assert result.exit_code == 1
        assert "NOT intact" in result.stdout
        assert "line 1: it was changed" in result.stdout

    def test_cut_is_1_by_head_or_anchor(self, log: Path, key_file: Path) -> None:
        head = verify(log, KEY).head
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:4]))
        assert self.run(log, "-k", key_file).exit_code == 1
        assert self.run(log, "-k", key_file, "--anchor", head).exit_code == 1

    def test_json(self, log: Path, key_file: Path) -> None:
        record = json.loads(self.run(log, "-k", key_file, "--json").stdout)
        assert record == verify(log, KEY).to_json()
        assert record["intact"] is True
        log.write_bytes(b"x\n")
        result = self.run(log, "-k", key_file, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["problems"][0]["kind"] == "malformed"

    def test_a_log_that_cannot_be_read_is_2(self, key_file: Path, tmp_path: Path) -> None:
        for path in (tmp_path / "absent", tmp_path):
            result = self.run(path, "-k", key_file)
            assert result.exit_code == 2
            assert "Cannot read the audit log" in result.stderr

    def test_what_keeps_it_from_checking_is_3(
        self, log: Path, key_file: Path, tmp_path: Path
    ) -> None:
        short = tmp_path / "short.key"
        short.write_bytes(b"short\n")
        short.chmod(0o600)
        for arguments in (
            (log, "-k", tmp_path / "absent"),
            (log, "-k", short),
            (log, "-k", key_file, "--anchor", "6"),
            (log, "-k", key_file, "--anchor", "6:" + "g" * 64),
            (log,),
        ):
            result = self.run(*arguments)
            assert result.exit_code == 3
            assert len(result.stderr.splitlines()) == 1

    def test_an_unfinished_line_is_intact_and_said(self, log: Path, key_file: Path) -> None:
        log.write_bytes(log.read_bytes() + b'{"category')
        result = self.run(log, "-k", key_file)
        assert result.exit_code == 0
        assert "10 bytes of an unfinished line" in result.stdout

    def test_closed_files_are_listed_with_their_heads(self, tmp_path: Path, key_file: Path) -> None:
        path = tmp_path / "audit.jsonl"
        write(path, 3, rotate_bytes=1)
        listed = self.run(path, "-k", key_file).stdout
        start = next(line for line in listed.splitlines() if "000000000001" in line).split()[-1]
        path.with_name("audit.jsonl.000000000001").unlink()
        assert self.run(path, "-k", key_file).exit_code == 1
        assert self.run(path, "-k", key_file, "--start", start).exit_code == 0

    def test_a_key_file_may_end_its_line(self, key_file: Path) -> None:
        assert load_key(key_file) == KEY
