"""`guardalign doctor`: what stands between this installation and a guard that works."""

from __future__ import annotations

from guardalign_middleware.cli.console import ALLOWED, UNSAFE, err, out, plain, print_json
from guardalign_middleware.first_day.checks import Result
from guardalign_middleware.first_day.doctor import examine

_STYLES: dict[Result, str] = {
    "ok": "green",
    "warning": "dark_orange",
    "failed": "bold red",
    "unknown": "dim",
}


def run_doctor(*, as_json: bool, preset: str) -> int:
    """Print every check when it is done; with `as_json`, one object at the end.

    Returns:
        The exit status: 1 when a check failed, else 0.
    """
    checks = []
    with err().status("looking"):
        for check in examine(preset):
            checks.append(check)
            if as_json:
                continue
            style = _STYLES[check.result]
            shown = f"[{style}]{check.result:>7}[/]  {plain(check.name)}: {plain(check.found)}"
            out().print(shown)
            if check.remedy and check.result != "ok":
                out().print(f"         {plain(check.remedy)}")
    failed = [check for check in checks if check.result == "failed"]
    if as_json:
        print_json({"preset": preset, "checks": [check.to_json() for check in checks]})
    else:
        checks_failed = "1 check failed" if len(failed) == 1 else f"{len(failed)} checks failed"
        out().print(checks_failed if failed else "nothing stands in the way")
    return UNSAFE if failed else ALLOWED
