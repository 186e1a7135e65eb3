"""`guardalign init`: asks what is missing, and does the steps one after the other."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import typer

from guardalign_middleware.cli.console import ALLOWED, err, out, plain
from guardalign_middleware.cli.init_steps import FirstDay
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.first_day.plan import STEPS, Plan, Step
from guardalign_middleware.first_day.programs import programs
from guardalign_middleware.preset_files import available_presets
from guardalign_middleware.writing import check_target

_TO_OBSERVE: tuple[Step, ...] = ("download", "preset")


def run_init(
    *,
    preset: str | None,
    model: str | None,
    safe: Sequence[str],
    unsafe: Sequence[str],
    out_file: Path,
    steps: Sequence[str],
    max_false_alarm: float | None,
    max_miss: float | None,
    held_out: float,
    most: int | None,
    max_crops: int | None,
    seed: int,
    observe: bool,
    yes: bool,
) -> int:
    """Do the steps, or those that are named.

    Returns:
        The exit status 0.

    Raises:
        ConfigError: an option is missing and cannot be asked for, or a step cannot be done.
        HubError: the hub does not give a model.
        ModelLoadError: a model is refused.
        ImageRejected: a picture cannot be read.
    """
    wanted = _steps(steps or (_TO_OBSERVE if observe else ()))
    if observe and set(wanted) - set(_TO_OBSERVE):
        raise ConfigError(
            "--observe fits no threshold, so it has no other steps than download and preset.",
            remedy="Leave out --observe, or the other steps.",
        )
    asks = not yes and _is_terminal()
    if preset is None and ({"download", "preset"} & set(wanted)):
        preset = _asked("--preset", f"Preset ({', '.join(available_presets())})", asks)
    if "preset" not in wanted and {"calibrate", "review", "ask"} & set(wanted):
        Plan(str(out_file), out_file).written()  # before questions that would lead nowhere
    shown = {"preset", "calibrate", "review"} & set(wanted)
    if not safe and not observe and (shown or ("ask" in wanted and not unsafe)):
        safe = [_asked("--safe", "Folder of safe pictures", asks)]
        if not unsafe and asks:
            given = typer.prompt("Folder of unsafe pictures (empty = none)", default="", err=True)
            unsafe = [given] if given else []
    plan = Plan(
        preset=preset or str(out_file),
        out=out_file,
        safe=tuple(safe),
        unsafe=tuple(unsafe),
        model=model,
        max_false_alarm=max_false_alarm,
        max_miss=max_miss,
        held_out=held_out,
        most=most,
        max_crops=max_crops,
        seed=seed,
        observe=observe,
    )
    if not steps and plan.out.exists() and (plan.written().mode == "observe") != observe:
        raise ConfigError(
            f"{plan.out} is there, and {'does not observe' if observe else 'only observes'}.",
            remedy="Name another file with --out, or write it anew with --step preset.",
        )
    check_target(plan.out)
    day = FirstDay(plan, confirm=_confirmed if asks else _granted(yes))
    for step in wanted:
        out().print(f"[bold]{step}[/]")
        day.do(step, again=bool(steps))
    if not steps:
        _show_programs(plan)
        if observe:
            _show_next(plan)
        err().print("done")
    return ALLOWED


def _steps(names: Sequence[str]) -> tuple[Step, ...]:
    unknown = sorted(set(names) - set(STEPS))
    if unknown:
        raise ConfigError(
            f"There is no step {unknown[0]!r}.", remedy=f"Steps are: {', '.join(STEPS)}."
        )
    # In their own order, however they are named.
    return tuple(step for step in STEPS if not names or step in names)


def _asked(option: str, question: str, asks: bool) -> str:
    if not asks:
        raise ConfigError(
            f"{option} is missing.", remedy=f"Give {option}: this run asks no questions."
        )
    return cast("str", typer.prompt(question, err=True))


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _confirmed(question: str) -> bool:
    return typer.confirm(question, err=True)


def _granted(yes: bool) -> Callable[[str], bool]:
    def answer(question: str) -> bool:
        if not yes:
            raise ConfigError(
                f"{question} This run asks no questions.", remedy="Add --yes to allow it."
            )
        return True

    return answer


def _show_programs(plan: Plan) -> None:
    config = plan.written()
    for name, lines in programs(plan.out, config):
        out().print(f"\n[bold]{name}[/]")
        out().print(plain(lines, lines=True))


def _show_next(plan: Plan) -> None:
    """The command that makes a threshold of what was recorded."""
    log, key, preset, profile = (
        shlex.quote(str(path)) for path in (plan.log, plan.key, plan.out, plan.profile)
    )
    lines = (
        f"guardalign calibrate --from-audit {log} --key-file {key} --preset {preset} \\\n"
        f"    --unsafe-share 0.01 --max-false-alarm 0.05 --out {profile}"
    )
    out().print("\n[bold]A threshold, when enough pictures are recorded[/]")
    out().print(plain(lines, lines=True))
