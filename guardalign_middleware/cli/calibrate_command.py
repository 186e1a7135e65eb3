"""The command `guardalign calibrate` and its options; implementations are imported on use."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from guardalign_middleware.cli.audit_app import KeyFile, KeyVariable, Start
from guardalign_middleware.cli.options import AsJson, HeldOut, MaxFalseAlarm, MaxMiss, Preset
from guardalign_middleware.cli.running import run


def calibrate(
    safe: Annotated[
        list[str] | None,
        typer.Option(
            "--safe",
            metavar="SET",
            help="Safe images: file or folder, coco:DIR, unsafebench:DIR, holisafe:DIR or "
            "hub:OWNER/NAME.",
        ),
    ] = None,
    unsafe: Annotated[
        list[str] | None,
        typer.Option(
            "--unsafe", metavar="SET", help="Unsafe images, as --safe. Needed for --max-miss."
        ),
    ] = None,
    max_false_alarm: MaxFalseAlarm = None,
    max_miss: MaxMiss = None,
    held_out: HeldOut = 0.3,
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 0,
    per_category: Annotated[
        bool,
        typer.Option(
            "--per-category",
            help="Fit one threshold per category; name the folders in --unsafe after them.",
        ),
    ] = False,
    from_audit: Annotated[
        Path | None,
        typer.Option(
            "--from-audit",
            metavar="LOG",
            help="Fit to what a guard in the mode observe has recorded, instead of images.",
        ),
    ] = None,
    unsafe_share: Annotated[
        float | None,
        typer.Option(help="With --from-audit: assume that at most this share of it is unsafe."),
    ] = None,
    key_file: KeyFile = None,
    key_variable: KeyVariable = None,
    start: Start = None,
    anchor: Annotated[
        str | None,
        typer.Option(metavar="N:MAC", help="Head printed by an earlier check and kept elsewhere."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%z"],
            help="With --from-audit: leave out lines from before.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output profile.")] = Path(
        "profile.json"
    ),
    as_json: AsJson = False,
    preset: Preset = "mini",
) -> None:
    """Fit the thresholds that keep the promised error rates, and write their profile.

    Each form in which the preset looks at a picture gets its own threshold.
    The promise holds on average for images like the given ones (exchangeable with them). It does
    not hold against attacks on the detector.

    With --from-audit, no image is labelled; see docs/observe.md for what is promised then.

    Exit status: 0 written, 2 an image cannot be read, 3 the program failed.
    """
    of_log = {
        "--unsafe-share": unsafe_share,
        "--key-file": key_file,
        "--key-variable": key_variable,
        "--start": start,
        "--anchor": anchor,
        "--since": since,
    }
    of_images = {"--safe": safe, "--unsafe": unsafe, "--max-miss": max_miss}
    given = of_log if from_audit is None else of_images
    for name, value in given.items():
        if value is not None:
            how = "needs" if from_audit is None else "cannot be combined with"
            raise typer.BadParameter(f"{name} {how} --from-audit.")
    if from_audit is None and not safe:
        raise typer.BadParameter("Give safe images with --safe, or a log with --from-audit.")
    if max_false_alarm is None and max_miss is None:
        max_false_alarm = 0.05
    if from_audit is not None:
        from guardalign_middleware.cli.calibrate_audit import LogSource, run_calibrate_audit

        source = LogSource(from_audit, key_file, key_variable, start, anchor, since)
        bound = 0.05 if max_false_alarm is None else max_false_alarm
        run(
            lambda: run_calibrate_audit(
                source,
                unsafe_share=unsafe_share,
                max_false_alarm=bound,
                held_out=held_out,
                seed=seed,
                per_category=per_category,
                target=out,
                as_json=as_json,
                preset=preset,
            )
        )
    from guardalign_middleware.cli.calibrate import run_calibrate

    run(
        lambda: run_calibrate(
            safe or [],
            unsafe or [],
            max_false_alarm=max_false_alarm,
            max_miss=max_miss,
            held_out=held_out,
            seed=seed,
            per_category=per_category,
            target=out,
            as_json=as_json,
            preset=preset,
        )
    )
