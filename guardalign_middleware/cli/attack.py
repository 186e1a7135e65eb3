"""`guardalign attack`: measure how easily an unsafe image gets past the detector."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from guardalign_middleware.bulk.folders import expand
from guardalign_middleware.cli.console import ALLOWED, err, out, tracked
from guardalign_middleware.cli.plots import check_plot
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.view_seed import seed_for
from guardalign_middleware.detector_loading import load_detector
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.attacks import AttackReport, Target, run_attacks
from guardalign_middleware.evaluation.attacks.plot import save_plot
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.output import load_as_scanned
from guardalign_middleware.types import CanonicalImage, Verdict
from guardalign_middleware.writing import check_outputs, check_target, write_whole

_SEED = 4_711
_TRIES = 50
"""Scenes that are drawn at most for each that is attacked."""


def run_attack(
    unsafe: Sequence[str],
    safe: Sequence[str],
    *,
    n: int,
    levels: Sequence[int],
    steps: int,
    seed: int,
    results: Path | None,
    plot: Path | None,
    preset: str,
    compare: bool,
) -> int:
    """Attack unsafe images, the first `n` of each kind, and print what is still detected.

    The detector is the preset's, with its configured counter-measures; with `compare`, others are
    measured beside them.

    Without unsafe images, scenes of the miniature world are generated, and safe ones where none are
    given either. Images that are missed without an attack are left out. In given images the
    detected regions serve as the boxes of the things; in generated scenes the boxes are known.

    Returns:
        The exit status 0.

    Raises:
        ConfigError: there is nothing to attack, an option is out of range, or a file cannot be
            written.
        GuardAlignError: an image cannot be read, or the encoder cannot be loaded.
    """
    if n < 1 or steps < 1 or not all(1 <= level <= 255 for level in levels):
        raise ConfigError("--n and --steps should be >= 1, and each --eps in 1..255.")
    if results is not None:
        check_target(results)
    if plot is not None:
        check_plot(plot)
    config = GuardAlignConfig.load(preset)
    pictures = (file for path in (*unsafe, *safe) for file in expand(path, config.intake))
    check_outputs(
        {"--json": results, "--plot": plot},
        {"--preset": [preset], "a picture": pictures},
    )
    with err().status("loading the encoder"):
        detector = load_detector(config)
    if unsafe:
        images, harmless = _loaded(unsafe, config, n), _loaded(safe, config, n)
        targets = _targets(detector, images, seed)
    elif config.name == "mini":
        # Pictures that are given are the ones to measure false alarms on.
        harmless = _loaded(safe, config, n) if safe else _drawn_safe(n, seed)
        targets = _drawn_targets(detector, n, seed)
    else:
        raise ConfigError(
            f"The preset {config.name!r} has no images of its own.",
            remedy="Name unsafe images with --unsafe, and safe ones with --safe.",
        )
    report = run_attacks(
        detector,
        targets,
        harmless,
        levels=levels,
        steps=steps,
        seed=seed,
        compare=compare,
        progress=lambda items: tracked(items, "attacking", len(items)),
    )
    _show(report)
    if results is not None:
        _write(results, report)
    if plot is not None:
        save_plot(report, plot)
    return ALLOWED


def _loaded(paths: Sequence[str], config: GuardAlignConfig, n: int) -> list[CanonicalImage]:
    sources = [source for path in paths for source in expand(path, config.intake)][:n]
    return [load_as_scanned(source, config.intake, config.output) for source in sources]


def _scanned(detector: Detector, image: CanonicalImage, seed: int) -> Verdict:
    """Scan with a view seed that follows from `seed`, which makes random views repeatable."""
    return detector.scan(image, view_seed=seed_for(str(seed).encode(), image))


def _targets(detector: Detector, images: Sequence[CanonicalImage], seed: int) -> list[Target]:
    found = []
    for image in images:
        if regions := _scanned(detector, image, seed).regions:
            found.append(Target(image, tuple(region.box for region in regions)))
    if len(found) < len(images):
        err().print(f"{len(images) - len(found)} of {len(images)} unsafe images are not detected")
    if not found:
        raise ConfigError("Nothing is found in any of the unsafe images, so nothing is attacked.")
    return found


def _drawn_targets(detector: Detector, n: int, seed: int) -> list[Target]:
    drawn = (_scene(number, seed, unsafe=True) for number in range(_TRIES * n))
    seen = (one for one in drawn if _scanned(detector, one.image, seed).flagged)
    targets = list(islice(seen, n))
    if not targets:
        raise ConfigError("Nothing is found in any of the drawn scenes, so nothing is attacked.")
    return targets


def _drawn_safe(n: int, seed: int) -> list[CanonicalImage]:
    return [_scene(number, seed, unsafe=False).image for number in range(n)]


def _scene(number: int, seed: int, *, unsafe: bool) -> Target:
    rng = np.random.default_rng((_SEED, seed, number, unsafe))
    drawn = draw_cluttered_scene(rng, unsafe=unsafe, backgrounds=HELD_OUT_BACKGROUNDS)
    boxes = tuple(item.box for item in drawn.unsafe_items)
    return Target(CanonicalImage(drawn.pixels, f"scene-{number}"), boxes)


def _show(report: AttackReport) -> None:
    attacks = Table(title=f"{report.images} unsafe images (95% intervals)", title_justify="left")
    for column in ("attack", "something found", "all things at least half covered"):
        attacks.add_column(column)
    for family, rows in groupby(report.attacks, key=lambda row: row.family):
        if family:
            attacks.add_section()
            attacks.add_row(f"[bold]{escape(family)}[/bold]")
        for row in rows:
            attacks.add_row(escape(row.attack), str(row.detected), str(row.located))
    out().print(attacks)
    columns = tuple(report.defences[0].detected)
    defences = Table(title="counter-measures, threshold unchanged", title_justify="left")
    for column in ("", "cost", "false alarms", *columns):
        defences.add_column(escape(column))
    for one in report.defences:
        alarms = "-" if one.false_alarms is None else str(one.false_alarms)
        found = [str(one.detected[column]) for column in columns]
        defences.add_row(escape(one.defence), f"×{one.scans:.1f}", alarms, *found)
    out().print(defences)


def _write(path: Path, report: AttackReport) -> None:
    text = json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n"
    write_whole(path, text.encode())
