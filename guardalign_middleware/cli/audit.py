"""`guardalign audit`: whether a log of verdicts is still what was written."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from guardalign_middleware.audit import Head, load_key, verify
from guardalign_middleware.cli.console import ALLOWED, UNSAFE, out, print_json


def run_verify(log: Path, *, key_file: Path, anchor: str | None, as_json: bool) -> int:
    """Check a log and print what was found.

    Returns:
        The exit status: 0 when the log is intact, else 1.

    Raises:
        AuditError: the log, its head, the key or the anchor cannot be read.
    """
    key = load_key(key_file)
    report = verify(log, key, anchor=None if anchor is None else Head.parse(anchor))
    if as_json:
        print_json(report.to_json())
    elif report.intact:
        out().print(f"[green]intact[/] {escape(str(log))}: {report.entries} lines")
        out().print(f"head {report.head}  (keep it elsewhere, and pass it as --anchor later)")
    else:
        out().print(f"[bold red]NOT intact[/] {escape(str(log))}: {report.entries} lines")
        for problem in report.problems:
            out().print(escape(str(problem)))
    return ALLOWED if report.intact else UNSAFE
