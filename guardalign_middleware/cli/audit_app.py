"""The commands of `guardalign audit` and their options; implementations are imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from guardalign_middleware.cli.options import AsJson, Preset
from guardalign_middleware.cli.running import run

audit_app = typer.Typer(help="Verify, repair and replay the audit log.", no_args_is_help=True)

AuditFile = Annotated[Path, typer.Argument(metavar="FILE", help="Audit log.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", "-k", metavar="FILE", help="Key of the audit log.")
]
KeyVariable = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Environment variable with the key of the audit log."),
]
Start = Annotated[
    str | None,
    typer.Option(metavar="N:MAC", help="Head at the end of files that were moved away."),
]


@audit_app.command("verify")
def audit_verify(
    log: AuditFile,
    key_file: KeyFile = None,
    key_variable: KeyVariable = None,
    anchor: Annotated[
        str | None,
        typer.Option(metavar="N:MAC", help="Head printed by an earlier check and kept elsewhere."),
    ] = None,
    start: Start = None,
    as_json: AsJson = False,
) -> None:
    """Check a log and its closed files for edits, deletions, reordering and truncation.

    Exit status: 0 intact, 1 not intact, 2 the log cannot be read, 3 the program failed.
    """
    from guardalign_middleware.cli.audit import read_key, run_verify

    run(
        lambda: run_verify(
            log, read_key(key_file, key_variable), anchor=anchor, start=start, as_json=as_json
        )
    )


@audit_app.command("repair")
def audit_repair(
    log: AuditFile,
    key_file: KeyFile = None,
    key_variable: KeyVariable = None,
    as_json: AsJson = False,
) -> None:
    """Cut off what follows the last recorded line, say what it was, and keep it beside the log.

    A guard does this itself for a line that a crash left unfinished. No recorded line is cut off.

    Exit status: 0 the log can be written again, 3 it cannot be repaired.
    """
    from guardalign_middleware.cli.audit import read_key, run_repair

    run(lambda: run_repair(log, read_key(key_file, key_variable), as_json=as_json))


@audit_app.command("replay")
def audit_replay(
    log: AuditFile,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files.")],
    key_file: KeyFile = None,
    key_variable: KeyVariable = None,
    start: Start = None,
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Guard images again and compare the results with their log entries; nothing is recorded.

    Exit status: 0 no differences, 1 differences, 2 an image is unreadable or not in the log, 3 the
    program failed.
    """
    from guardalign_middleware.cli.audit import read_key, run_replay

    run(
        lambda: run_replay(
            log,
            images,
            read_key(key_file, key_variable),
            start=start,
            preset=preset,
            as_json=as_json,
        )
    )
