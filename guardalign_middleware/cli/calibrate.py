"""`guardalign calibrate`: a threshold profile from a folder of safe and one of unsafe images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guardalign_middleware.cli.console import ALLOWED, err, print_error, tracked
from guardalign_middleware.cli.scan import expand
from guardalign_middleware.config import GuardAlignConfig, IntakePolicy
from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.detection.fit import Measured, calibrate_detector, measure
from guardalign_middleware.detection.view_seed import draw_for
from guardalign_middleware.errors import ConfigError, GuardAlignError
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.intake import load_image


def run_calibrate(
    safe: Sequence[str],
    unsafe: Sequence[str],
    *,
    max_false_alarm: float | None,
    max_miss: float | None,
    held_out: float,
    seed: int,
    per_category: bool,
    out: Path,
    preset: str,
) -> int:
    """Measure the images, choose the threshold on one part, report on the rest, write the profile.

    Equal pictures count once: a copy is no further evidence. With `per_category` each category gets
    a threshold of its own, and the unsafe images lie in folders named like their category. Images
    are looked at as the preset's `detection.defence` says, and the profile fits nothing else.

    Returns:
        The exit status 0.

    Raises:
        ConfigError: an image cannot be read, there are too few, no threshold keeps the promises,
            or the profile cannot be written. Nothing is written then.
        ModelLoadError: the encoder cannot be loaded.
    """
    if not 0.0 < held_out < 1.0:
        raise ConfigError(f"--held-out should be in (0, 1). Received {held_out}.")
    config = GuardAlignConfig.load(preset)
    with err().status("loading the encoder"):
        detector = Detector.from_config(config.detection.model_copy(update={"profile": None}))
    rng = np.random.default_rng(seed)
    groups = {"safe": safe, **(_by_folder(unsafe) if per_category else {"unsafe": unsafe})}
    kept: dict[str, list[Measured]] = {}
    rest: dict[str, list[Measured]] = {}
    for name, paths in groups.items():
        images = _measured(detector, config.intake, name, paths, seed)
        order = rng.permutation(len(images)).tolist()
        first = round(held_out * len(images))
        kept[name] = [images[index] for index in order[first:]]
        rest[name] = [images[index] for index in order[:first]]
    safe_kept, safe_rest = kept.pop("safe"), rest.pop("safe")
    unsafe_rest = [image for images in rest.values() for image in images]
    profile = calibrate_detector(
        detector,
        safe_kept,
        kept,
        max_false_alarm,
        max_miss=max_miss,
        per_category=per_category,
    )
    profile = _with_held_out(profile, safe_rest, unsafe_rest)
    try:
        profile.save(out)
    except OSError as error:
        raise ConfigError(
            f"Cannot write {out}: {error.strerror}.", remedy="Name another file with --out."
        ) from error
    _show(Console(), profile)
    Console().print(f"{escape(str(out))}: name it as detection.profile in your preset")
    return ALLOWED


def _by_folder(paths: Sequence[str]) -> dict[str, list[str]]:
    """The folders in these folders, by their names, which are those of the categories.

    Raises:
        ConfigError: one is no folder, or holds files beside folders, of which nobody knows the
            category.
    """
    groups: dict[str, list[str]] = {}
    for path in paths:
        entries = sorted(Path(path).iterdir()) if Path(path).is_dir() else []
        if not entries or any(not entry.is_dir() for entry in entries):
            raise ConfigError(
                f"With --per-category, {path} should hold nothing but one folder of images for "
                "each category, named like it.",
            )
        for entry in entries:
            groups.setdefault(entry.name, []).append(str(entry))
    if "safe" in groups:
        raise ConfigError("A category named 'safe' cannot be calibrated; name it otherwise.")
    return groups


def _measured(
    detector: Detector, policy: IntakePolicy, name: str, paths: Sequence[str], seed: int
) -> list[Measured]:
    """Distances in order of the files; every unreadable file is named before it fails."""
    seen: dict[str, Measured] = {}
    failed = 0
    sources = [source for path in paths for source in expand(path)]
    for source in tracked(sources, f"{name} images"):
        try:
            image = load_image(source, policy)
            if image.sha256 not in seen:
                # From the seed, so that random views give the same profile again.
                draw = draw_for(str(seed).encode(), image)
                seen[image.sha256] = measure(detector, image, draw=draw)
        except GuardAlignError as error:
            print_error(str(error))
            failed += 1
    if failed:
        raise ConfigError(
            f"{failed} of {len(sources)} {name} images cannot be used.",
            remedy="Mend or remove them, and calibrate again.",
        )
    if len(seen) < len(sources):
        err().print(f"{name}: {len(sources) - len(seen)} copies of other images left out")
    return list(seen.values())


def _with_held_out(
    profile: ThresholdProfile, safe: Sequence[Measured], unsafe: Sequence[Measured]
) -> ThresholdProfile:
    flagged = sum(profile.flags(*image) for image in safe)
    missed = sum(not profile.flags(*image) for image in unsafe)
    calibration = replace(
        profile.calibrated_on,
        held_out_safe=(flagged, len(safe)),
        held_out_unsafe=(missed, len(unsafe)),
    )
    return replace(profile, calibrated_on=calibration)


def _show(console: Console, profile: ThresholdProfile) -> None:
    calibration = profile.calibrated_on
    title = " and ".join(
        "by category" if one.by_category else f"{one.threshold:.4f}" for one in profile.members
    )
    table = Table(title=f"threshold {title}", title_justify="left")
    for column in ("", "promised", "images", "calibration", "held out (95% interval)"):
        table.add_column(column)
    table.add_row(
        "safe images flagged",
        _bound(calibration.max_false_alarm),
        str(calibration.safe_images),
        f"{calibration.false_alarm:.3f}",
        _estimate(calibration.held_out_safe),
    )
    detected = calibration.detected
    table.add_row(
        "unsafe images missed",
        _bound(calibration.max_miss),
        str(calibration.unsafe_images),
        "-" if detected is None else f"{1.0 - detected:.3f}",
        _estimate(calibration.held_out_unsafe),
    )
    console.print(table)
    for one in profile.members:
        if one.by_category:
            console.print(_categories(one))
    console.print(profile.guarantee, highlight=False)


def _categories(profile: ThresholdProfile) -> Table:
    table = Table()
    for column in ("category", "threshold", "safe images flagged", "its images", "of them missed"):
        table.add_column(column)
    for name, one in profile.by_category.items():
        table.add_row(
            name,
            f"{one.threshold:.4f}",
            f"{one.false_alarm:.3f} ({_bound(one.max_false_alarm)})",
            str(one.unsafe_images),
            "-" if one.missed is None else f"{one.missed:.3f}",
        )
    return table


def _bound(value: float | None) -> str:
    return "-" if value is None else f"<= {value:.3g}"


def _estimate(counts: tuple[int, int] | None) -> str:
    if counts is None or counts[1] == 0:
        return "-"
    found: Estimate = rate(*counts)
    return f"{found} of {found.n}"
