"""`guardalign calibrate --from-audit`: propose a threshold from what a guard has observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from scipy import stats

from guardalign_middleware.audit import Head
from guardalign_middleware.audit.observed import ObservedImages, read_observed
from guardalign_middleware.cli.audit import read_key
from guardalign_middleware.cli.calibrate import load_unfitted, write_profile
from guardalign_middleware.cli.console import ALLOWED, err
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import ThresholdProfile
from guardalign_middleware.detection.fit import ImageDistances, split_held_out
from guardalign_middleware.detection.order_statistics import TooFewImages, retold
from guardalign_middleware.detection.traffic import fit_traffic
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.writing import check_outputs, check_target

_CHANGED = 0.01
"""Below this p-value, the difference between the earlier and the later half is reported."""


@dataclass(frozen=True)
class LogSource:
    """Where the log is, and how it is verified.

    Attributes:
        log: the file.
        key_file, key_variable: where its key is; exactly one.
        start, anchor: heads that were kept elsewhere; see `guardalign audit verify`.
        since: lines from before are left out.
    """

    log: Path
    key_file: Path | None = None
    key_variable: str | None = None
    start: str | None = None
    anchor: str | None = None
    since: datetime | None = None

    def read(self, *, encoder: str, binding: str) -> ObservedImages:
        """The images of the log.

        Raises:
            AuditError: as for `read_observed`, or the key or a head cannot be read.
        """
        since = self.since
        return read_observed(
            self.log,
            read_key(self.key_file, self.key_variable),
            encoder=encoder,
            binding=binding,
            start=None if self.start is None else Head.parse(self.start),
            anchor=None if self.anchor is None else Head.parse(self.anchor),
            # As `date` on this machine prints it, unless it names its offset.
            since=since.astimezone() if since is not None and since.tzinfo is None else since,
        )


def run_calibrate_audit(
    source: LogSource,
    *,
    unsafe_share: float | None,
    max_false_alarm: float,
    held_out: float,
    seed: int,
    per_category: bool,
    target: Path,
    as_json: bool,
    preset: str,
) -> int:
    """Fit the threshold on one part of the images of a log, test it on the rest, write the profile.

    Returns:
        The exit status 0.

    Raises:
        AuditError: the log cannot be read, is not intact, or is of another configuration.
        ConfigError: an option is missing or out of range, there are too few images, or the profile
            cannot be written. Nothing is written then.
        ModelLoadError: the encoder cannot be loaded.
    """
    if unsafe_share is None:
        raise ConfigError(
            "--from-audit needs --unsafe-share, because no image of a log is labelled.",
            remedy="Give the largest share of unsafe images that you expect in this traffic, such "
            "as 0.01.",
        )
    if not 0.0 < held_out < 1.0:
        raise ConfigError(f"--held-out should be in (0, 1). Received {held_out}.")
    check_target(target)
    check_outputs(
        {"--out": target},
        {
            "--preset": [preset],
            "--from-audit": [source.log],
            "--key-file": [] if source.key_file is None else [source.key_file],
        },
    )
    detector = load_unfitted(GuardAlignConfig.load(preset))
    found = source.read(encoder=detector.encoder, binding=detector.binding)
    order, first = split_held_out(len(found.images), held_out, np.random.default_rng(seed))
    rest = [found.images[index] for index in order[:first]]
    kept = [found.images[index] for index in order[first:]]
    try:
        profile = fit_traffic(
            detector, kept, unsafe_share, max_false_alarm, per_category=per_category
        )
    except TooFewImages as error:
        raise retold(error, error.message, held_out) from error
    profile = _with_held_out(profile, rest)
    change = change_over_time(found.images)
    if not as_json:
        _tell(found)
    write_profile(
        profile, target, as_json=as_json, log={**found.to_json(), "change_p_value": change}
    )
    if change is not None and change < _CHANGED:
        err().print(
            f"[bold red]warning:[/] the later half of the images differs from the earlier one "
            f"(p = {change:.2g}), so new ones are hardly exchangeable with them. Look at what has "
            "changed, and begin after it with --since."
        )
    return ALLOWED


def change_over_time(images: Sequence[ImageDistances]) -> float | None:
    """How likely two halves of equal traffic differ as much as these (Kolmogorov-Smirnov).

    Args:
        images: in the order in which they came.

    Returns:
        The p-value for the smallest distances; None with fewer than two images.
    """
    nearest = [
        min(value for one in image for form in one.values() for value in form.values())
        for image in images
    ]
    half = len(nearest) // 2
    if half == 0:
        return None
    return float(stats.ks_2samp(nearest[:half], nearest[half:]).pvalue)


def _with_held_out(profile: ThresholdProfile, rest: Sequence[ImageDistances]) -> ThresholdProfile:
    assert profile.fit.traffic is not None
    flagged = sum(profile.flags(*image) for image in rest)
    traffic = replace(profile.fit.traffic, held_out=(flagged, len(rest)))
    return replace(profile, fit=replace(profile.fit, traffic=traffic))


def _tell(found: ObservedImages) -> None:
    left_out = {
        "on an image that came before": found.repeated,
        "on an image that was not scanned": found.unscanned,
        "not of the mode observe": found.enforced,
    }
    told = [f"{count:,} {why}" for why, count in left_out.items() if count]
    err().print(
        f"{found.lines:,} lines from {found.first} to {found.last}: "
        f"{len(found.images):,} different images"
    )
    if told:
        err().print(f"left out: {', '.join(told)}")
