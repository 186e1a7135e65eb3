"""`guardalign bench`: measure a preset on this machine, and write one page of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from guardalign_middleware.bench.measure import Plan, measure
from guardalign_middleware.bench.page import machine, page_of, to_json
from guardalign_middleware.bench.subject import Subject
from guardalign_middleware.bulk.folders import expand
from guardalign_middleware.cli.console import (
    ALLOWED,
    UNSAFE,
    err,
    out,
    plain,
    without_loading_bars,
)
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.writing import check_outputs, check_target, write_whole

MOST_PICTURES = 50


def run_bench(
    images: Sequence[str],
    *,
    pairs: int,
    tokens: int,
    scan_only: bool,
    device: str | None,
    target: Path,
    results: Path | None,
    preset: str,
) -> int:
    """Measure, print the page, and write it.

    Returns:
        The exit status: 0 if the run is valid, 1 if it is void.

    Raises:
        ImageRejected: a picture cannot be read.
        ConfigError: the preset or an option cannot be used, or a file cannot be written.
        ModelLoadError: an encoder or the model cannot be loaded.
    """
    for file_to_write in (target, results):
        if file_to_write is not None:
            check_target(file_to_write)
    without_loading_bars()
    config = GuardAlignConfig.load(preset)
    pictures = (file for path in images for file in expand(path, config.intake))
    check_outputs(
        {"--out": target, "--json": results},
        {"--preset": [preset], "--images": pictures},
    )
    with err().status("loading the models") as status:
        subject = Subject.load(config, tokens=tokens, scan_only=scan_only, device=device)
        plan = Plan(pairs=pairs, own=_own(subject, images))
        found = measure(subject, plan, status.update)
    about = machine(subject)
    page = page_of(subject, plan, found, about)
    write_whole(target, page.encode())
    if results is not None:
        write_whole(results, json.dumps(to_json(plan, found, about), indent=1).encode() + b"\n")
    out().print(plain(page, lines=True))
    err().print(f"written to {plain(str(target))}; paste it into an issue")
    return UNSAFE if found.faults else ALLOWED


def _own(subject: Subject, paths: Sequence[str]) -> tuple[CanonicalImage, ...]:
    policy = subject.config.intake
    files = [file for path in paths for file in expand(path, policy)]
    if len(files) > MOST_PICTURES:
        raise ConfigError(
            f"--images names {len(files)} pictures; at most {MOST_PICTURES} are measured.",
            remedy="Name fewer, such as a folder with a sample.",
        )
    return tuple(subject.guard.load(file) for file in files)
