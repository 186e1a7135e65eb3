"""`guardalign calibrate`: fit a threshold profile to folders of safe and unsafe images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from guardalign_middleware.cli.console import (
    ALLOWED,
    err,
    out,
    plain,
    print_error,
    print_json,
    tracked,
)
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector, ThresholdFit, ThresholdProfile
from guardalign_middleware.detection.fit import check_groups
from guardalign_middleware.detector_loading import load_detector
from guardalign_middleware.errors import ConfigError, ImageRejected
from guardalign_middleware.evaluation.metrics import rate
from guardalign_middleware.first_day.counts import Counts, configured_ways, shortfall
from guardalign_middleware.first_day.fitting import (
    Measured,
    check_pixels_apart,
    check_sources_apart,
    fit,
    measure_all,
)
from guardalign_middleware.first_day.picture_sets import Picture, Side, open_set
from guardalign_middleware.writing import check_outputs, check_target


def run_calibrate(
    safe: Sequence[str],
    unsafe: Sequence[str],
    *,
    max_false_alarm: float | None,
    max_miss: float | None,
    held_out: float,
    seed: int,
    per_category: bool,
    target: Path,
    as_json: bool,
    preset: str,
) -> int:
    """Measure the images, fit the threshold on one part, test it on the rest, write the profile.

    Equal pictures count once, because a copy is no further evidence. Each form in which the preset
    looks at a picture gets its own threshold. With `per_category` each category does too, and the
    unsafe images lie in folders named after their categories. The profile is valid only with the
    forms, views and encoders of the preset.

    Returns:
        The exit status 0.

    Raises:
        ImageRejected: an image cannot be read.
        ConfigError: there are too few, no threshold keeps the bounds, or
            the profile cannot be written. Nothing is written then.
        ModelLoadError: the encoder cannot be loaded.
    """
    if not 0.0 < held_out < 1.0:
        raise ConfigError(f"--held-out should be in (0, 1). Received {held_out}.")
    check_target(target)
    config = GuardAlignConfig.load(preset)
    names = {"safe": safe, **(_by_folder(unsafe) if per_category else {"unsafe": unsafe})}
    groups = {name: _opened(name, sets, config) for name, sets in names.items()}
    check_sources_apart(groups)
    files = (one.file for opened in groups.values() for one in opened)
    check_outputs({"--out": target}, {"--preset": [preset], "a picture": files})
    detector = load_unfitted(config)
    forms = configured_ways(config.detection)
    counts = {name: Counts.of(len(pictures), held_out) for name, pictures in groups.items()}
    check_groups(
        detector,
        counts["safe"].fitted,
        {name: count.fitted for name, count in counts.items() if name != "safe"},
        max_false_alarm,
        max_miss=max_miss,
        per_category=per_category,
        forms=forms,
        held_out=held_out,
    )
    ways = forms * len(detector.meters)
    ways *= len(detector.meters[0].anchors.categories) if per_category else 1
    for name, count in counts.items():
        alarms = name == "safe"
        error, bound = ("false alarms", max_false_alarm) if alarms else ("misses", max_miss)
        count = replace(count, ways=ways if alarms else 1)
        short = None if bound is None else shortfall(count, error, held_out, bound)
        if short is not None:
            err().print(plain(f"{count.all} {name} images {short}"))
    measured: dict[str, list[Measured]] = {}
    for name, pictures in groups.items():
        measured[name] = _measured(detector, config, name, pictures, seed)
        check_pixels_apart(measured)
    fitted = fit(
        detector,
        measured,
        max_false_alarm,
        max_miss,
        held_out=held_out,
        seed=seed,
        per_category=per_category,
    )
    write_profile(fitted.profile, target, as_json=as_json)
    return ALLOWED


def load_unfitted(config: GuardAlignConfig) -> Detector:
    """The detector of a preset without its thresholds, which are to be fitted.

    Raises:
        ConfigError, ModelLoadError: as for `load_detector`.
    """
    with err().status("loading the encoder"):
        unfitted = config.detection.model_copy(update={"profile": None})
        return load_detector(config.model_copy(update={"detection": unfitted}))


def write_profile(
    profile: ThresholdProfile, target: Path, *, as_json: bool, **more: JsonValue
) -> None:
    """Write a profile, and print it.

    Args:
        profile: the profile.
        target: its file.
        as_json: print JSON.
        more: further fields of that JSON.

    Raises:
        ConfigError: it cannot be written.
    """
    profile.save(target)
    if as_json:
        print_json({"file": str(target), **profile.to_json(), **more})
        return
    _show(out(soft_wrap=False), profile)
    out().print(f"{plain(str(target))}: name it as detection.profile in your preset")


def _by_folder(paths: Sequence[str]) -> dict[str, list[str]]:
    """Category → the folders named after it, inside these folders.

    Raises:
        ConfigError: a path is not a folder, or holds files, whose category would be unknown.
    """
    groups: dict[str, list[str]] = {}
    for path in paths:
        entries = sorted(Path(path).iterdir()) if Path(path).is_dir() else []
        if not entries or any(not entry.is_dir() for entry in entries):
            raise ConfigError(
                f"With --per-category, {path} should hold one folder of images for each category, "
                "named after it, and nothing else.",
            )
        for entry in entries:
            groups.setdefault(entry.name, []).append(str(entry))
    if "safe" in groups:
        raise ConfigError("No threshold can be fitted for a category named 'safe'. Rename it.")
    return groups


def _opened(name: str, paths: Sequence[str], config: GuardAlignConfig) -> list[Picture]:
    side: Side = "safe" if name == "safe" else "unsafe"
    sets = [open_set(path, side, config.intake) for path in paths]
    for one in sets:
        if one.title != one.name:
            err().print(f"{name}: {plain(one.title)}; licence: {plain(one.licence)}")
    return [picture for one in sets for picture in one.pictures]


def _measured(
    detector: Detector, config: GuardAlignConfig, name: str, pictures: Sequence[Picture], seed: int
) -> list[Measured]:
    """Distances in the order of the files; prints every unreadable file before it fails."""
    found, problems = measure_all(
        detector,
        config,
        pictures,
        "safe" if name == "safe" else "unsafe",
        seed,
        lambda items, _: tracked(items, f"{name} images", len(items)),
    )
    for problem in problems:
        print_error(problem)
    if problems:
        raise ImageRejected(
            f"{len(problems)} of {len(pictures)} {name} images cannot be used.",
            reason="unreadable",
            remedy="Repair or remove them, and run the command again.",
        )
    if len(found) < len(pictures):
        err().print(f"{name}: {len(pictures) - len(found)} copies of other images left out")
    return found


def _show(console: Console, profile: ThresholdProfile) -> None:
    fit = profile.fit
    title = " and ".join(map(_title, profile.members))
    table = Table(title=f"threshold {title}", title_justify="left")
    for column in ("", "promised", "images", "calibration", "held out (95% interval)"):
        table.add_column(column)
    for row in _rates(fit):
        table.add_row(*row)
    console.print(table)
    for one in profile.members:
        if one.by_category:
            console.print(_categories(one))
        elif one.by_form:
            console.print(_forms(one))
    console.print(profile.guarantee, highlight=False)


def _rates(fit: ThresholdFit) -> list[tuple[str, ...]]:
    """What was promised, and what was found."""
    traffic = fit.traffic
    if traffic is not None:
        found = f"{traffic.flagged:.3f}", _estimate(traffic.held_out)
        images = str(traffic.images)
        return [
            ("images flagged", _bound(traffic.max_flagged), images, *found),
            ("safe images flagged", _bound(fit.max_false_alarm), "not labelled", "-", "-"),
        ]
    safe = (
        "safe images flagged",
        _bound(fit.max_false_alarm),
        str(fit.safe_images),
        f"{fit.false_alarm:.3f}",
        _estimate(fit.held_out_safe),
    )
    detected = fit.detected
    unsafe = (
        "unsafe images missed",
        _bound(fit.max_miss),
        str(fit.unsafe_images),
        "-" if detected is None else f"{1.0 - detected:.3f}",
        _estimate(fit.held_out_unsafe),
    )
    return [safe, unsafe]


def _title(profile: ThresholdProfile) -> str:
    parts = {"category": profile.by_category, "form": profile.by_form}
    kinds = [name for name, thresholds in parts.items() if thresholds]
    return f"by {' and '.join(kinds)}" if kinds else f"{profile.threshold:.4f}"


def _forms(profile: ThresholdProfile) -> Table:
    table = Table("form", "threshold")
    for name, one in profile.by_form.items():
        table.add_row(name, f"{one.threshold:.4f}")
    return table


def _categories(profile: ThresholdProfile) -> Table:
    thresholds = [f"threshold, {form}" for form in profile.by_form] or ["threshold"]
    table = Table("category", *thresholds, "safe images flagged", "its images", "of them missed")
    for name, one in profile.by_category.items():
        own = [form.by_category[name] for form in profile.by_form.values()] or [one.threshold]
        table.add_row(
            name,
            *(f"{threshold:.4f}" for threshold in own),
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
    found = rate(*counts)
    return f"{found} of {found.n}"
