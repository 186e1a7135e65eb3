"""How a command ends: its status, one line, and never a traceback."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from guardalign_middleware.cli import app
from guardalign_middleware.cli.running import guarded
from guardalign_middleware.errors import (
    AuditError,
    ConfigError,
    DetectionError,
    ImageRejected,
    MessageError,
    ModelLoadError,
)
from tests.support.audit_logs import write, write_key

MAIN = "from guardalign_middleware.cli import main; main()"


def raising(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ImageRejected("It is empty.", reason="empty"), 2),
        (MessageError("It is too long."), 2),
        (ConfigError("It is wrong."), 3),
        (ModelLoadError("It is missing."), 3),
        (AuditError("It is full."), 3),
        (DetectionError("It is NaN.", stage="encode"), 3),
        (OSError(28, "No space left on device"), 3),
        (OSError(28, "No space left on device", "a\nb"), 3),
        (OSError(), 3),
        (MemoryError(), 3),
        (ValueError("two\nlines"), 3),
        (RecursionError(), 3),
        (UnicodeEncodeError("ascii", "é", 0, 1, "no"), 3),
    ],
)
def test_each_error_is_one_line(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(raising(error)) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(("error", "status"), [(BrokenPipeError(), 3), (KeyboardInterrupt(), 130)])
def test_an_end_from_outside_is_quiet(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(raising(error)) == status
    assert capsys.readouterr() == ("", "")


def test_where_it_failed_is_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GUARDALIGN_TRACEBACK", "1")
    assert guarded(raising(ValueError("odd"))) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("scan",),
        ("scan", "--nonsense", "x"),
        ("ask", "x"),
        ("ask", "x", "y", "--json", "--stream"),
        ("explain-attention", "x", "y", "--gamma", "much"),
        ("audit",),
    ],
)
def test_wrong_usage_is_not_an_input_that_could_not_be_scanned(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, list(arguments)).exit_code in (
        {0, 3} if arguments == ("audit",) else {3}
    )


def test_help_is_0() -> None:
    for arguments in (["--help"], ["scan", "--help"], ["audit", "repair", "--help"]):
        assert CliRunner().invoke(app, arguments).exit_code == 0


@pytest.fixture
def verifying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a command that prints a little."""
    # What is not buffered fails at once; what is, when the program ends.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    write(tmp_path / "log", 1)
    key = write_key(tmp_path)
    return [sys.executable, "-c", MAIN, "audit", "verify", str(tmp_path / "log"), "-k", str(key)]


class TestRealStreams:
    @pytest.mark.parametrize("arguments", [None, ["--help"]])
    def test_a_full_disk(self, verifying: list[str], arguments: list[str] | None) -> None:
        command = verifying if arguments is None else [*verifying[:3], *arguments]
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 3
        assert done.stderr == "error: Cannot write the output: No space left on device.\n"

    @pytest.mark.parametrize("arguments", [None, ["--help"]])
    def test_a_reader_that_went_away(
        self, verifying: list[str], arguments: list[str] | None
    ) -> None:
        command = verifying if arguments is None else [*verifying[:3], *arguments]
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (3, "")

    def test_closed_and_full_streams(self, verifying: list[str]) -> None:
        for redirection, status in ((">&-", 3), ("2>&-", 0), ("2>/dev/full >/dev/full", 3)):
            shell = ["sh", "-c", f'exec "$@" {redirection}', "sh", *verifying]
            done = subprocess.run(shell, capture_output=True, text=True, check=False)
            assert done.returncode == status, redirection
            assert "Traceback" not in done.stderr

    def test_a_terminal_that_knows_only_ascii(self, verifying: list[str], tmp_path: Path) -> None:
        (tmp_path / "log").rename(tmp_path / "pröfung")
        (tmp_path / "log.head").rename(tmp_path / "pröfung.head")
        verifying[5] = str(tmp_path / "pröfung")
        done = subprocess.run(
            verifying,
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )
        assert done.returncode == 0, done.stderr
        assert rb"pr\xf6fung" in done.stdout


BAR = """
from guardalign_middleware.cli.console import out, print_error, print_json, tracked
for number in tracked([1, 2, 3], "scanning", 3):
    out().print(f"[green]line[/] {number}")
    print_json({"number": number})
    print_error(f"bad {number}")
"""


@pytest.mark.parametrize("piped", [False, True])
def test_results_and_errors_stand_on_lines_of_their_own_above_the_bar(
    tmp_path: Path, piped: bool
) -> None:
    results = tmp_path / "results"
    terminal, side = pty.openpty()
    with results.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", BAR], stdout=file if piped else side, stderr=side
        )
        os.close(side)
        shown = b""
        while data := _read(terminal):
            shown += data
    assert process.wait() == 0
    os.close(terminal)
    screen = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    lines = [line.strip() for line in re.split(r"[\r\n]+", screen)]
    expected = {f"error: bad {number}" for number in (1, 2, 3)}
    printed = {f"line {number}" for number in (1, 2, 3)}
    printed |= {f'{{"number": {number}}}' for number in (1, 2, 3)}
    if piped:
        assert set(results.read_text().splitlines()) == printed
        assert not printed & set(lines)
    else:
        expected |= printed
    assert expected <= set(lines)
    assert re.search(r"3/3 .*left", screen)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other side was closed
        return b""
