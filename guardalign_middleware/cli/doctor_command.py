"""The command `guardalign doctor` and its options; the checks are imported on use."""

from __future__ import annotations

from guardalign_middleware.cli.options import AsJson, Preset
from guardalign_middleware.cli.running import run


def doctor(as_json: AsJson = False, preset: Preset = "mini") -> None:
    """Check the installation, the machine, the hub and a preset; nothing is fetched.

    Says what is wrong and the command that repairs it.

    Exit status: 0 nothing failed, 1 a check failed, 3 the program failed.
    """
    from guardalign_middleware.cli.doctor import run_doctor

    run(lambda: run_doctor(as_json=as_json, preset=preset))
