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
from guardalign_middleware.detection import Detector, ThresholdProfile, calibrate_threshold
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
    out: Path,
    preset: str,
) -> int:
    """Measure the images, choose the threshold on one part, report on the rest, write the profile.

    Equal pictures count once: a copy is no further evidence.

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
    parts = {}
    for name, paths in (("safe", safe), ("unsafe", unsafe)):
        distances = _distances(detector, config.intake, name, paths)
        rest = round(held_out * len(distances))
        shuffled = rng.permutation(distances).tolist()
        parts[name] = shuffled[rest:], shuffled[:rest]
    profile = calibrate_threshold(
        parts["safe"][0],
        parts["unsafe"][0] or None,
        max_false_alarm,
        max_miss=max_miss,
        binding=detector.binding,
    )
    profile = _with_held_out(profile, parts["safe"][1], parts["unsafe"][1])
    try:
        profile.save(out)
    except OSError as error:
        raise ConfigError(
            f"Cannot write {out}: {error.strerror}.", remedy="Name another file with --out."
        ) from error
    _show(Console(), profile)
    Console().print(f"{escape(str(out))}: name it as detection.profile in your preset")
    return ALLOWED


def _distances(
    detector: Detector, policy: IntakePolicy, name: str, paths: Sequence[str]
) -> list[float]:
    """Image distances in order of the files; every unreadable file is named before it fails."""
    seen: dict[str, float] = {}
    failed = 0
    sources = [source for path in paths for source in expand(path)]
    for source in tracked(sources, f"{name} images"):
        try:
            image = load_image(source, policy)
            if image.sha256 not in seen:
                seen[image.sha256] = detector.distances(image).distance
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
    profile: ThresholdProfile, safe: Sequence[float], unsafe: Sequence[float]
) -> ThresholdProfile:
    flagged = sum(distance <= profile.threshold for distance in safe)
    missed = sum(distance > profile.threshold for distance in unsafe)
    calibration = replace(
        profile.calibrated_on,
        held_out_safe=(flagged, len(safe)),
        held_out_unsafe=(missed, len(unsafe)),
    )
    return replace(profile, calibrated_on=calibration)


def _show(console: Console, profile: ThresholdProfile) -> None:
    calibration = profile.calibrated_on
    table = Table(title=f"threshold {profile.threshold:.4f}", title_justify="left")
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
    console.print(profile.guarantee, highlight=False)


def _bound(value: float | None) -> str:
    return "-" if value is None else f"<= {value:.3g}"


def _estimate(counts: tuple[int, int] | None) -> str:
    if counts is None or counts[1] == 0:
        return "-"
    found: Estimate = rate(*counts)
    return f"{found} of {found.n}"
