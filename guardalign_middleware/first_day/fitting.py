"""The step `calibrate`: measure the pictures, go on where it broke off, and fit the thresholds."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.detection.fit import (
    ImageDistances,
    fit_profile,
    measure,
    split_held_out,
    with_held_out,
)
from guardalign_middleware.detection.view_seed import seed_for
from guardalign_middleware.errors import ConfigError, ImageRejected
from guardalign_middleware.first_day.picture_sets import Picture, Side
from guardalign_middleware.first_day.plan import Plan
from guardalign_middleware.output import load_as_scanned

Tracked = Callable[[Sequence[Picture], str], Iterable[Picture]]


@dataclass(frozen=True)
class Measured:
    """A picture and its distances.

    Attributes:
        picture: where it is.
        side: whether it is a safe or an unsafe one.
        sha256: of its pixels.
        distances: to each category, by each encoder in each form.
    """

    picture: Picture
    side: Side
    sha256: str
    distances: ImageDistances


@dataclass(frozen=True)
class Fitted:
    """Thresholds, and what they do to each picture.

    Attributes:
        profile: with the counts of the pictures that were held out.
        held_out: SHA-256 of these.
    """

    profile: ThresholdProfile
    held_out: frozenset[str]


def measure_all(
    detector: Detector,
    config: GuardAlignConfig,
    pictures: Sequence[Picture],
    side: Side,
    plan: Plan,
    tracked: Tracked,
) -> tuple[list[Measured], list[str]]:
    """Distances of all pictures, equal ones once; those that were measured before are not again.

    Args:
        detector: measures; its profile is not asked.
        config: by which pictures are read.
        pictures: of one side.
        side: which.
        plan: where distances are kept, and the seed.
        tracked: shows the progress.

    Returns:
        What was measured, in order, and what is wrong with the other pictures.

    Raises:
        ConfigError: the distances cannot be written.
    """
    binding = _digest(detector)
    known = read_distances(plan.distances, binding)
    found: dict[str, Measured] = {}
    problems: list[str] = []
    try:
        with plan.distances.open("a+b") as file:
            _end_the_last_line(file)
            for picture in tracked(pictures, f"{side} pictures"):
                try:
                    image = load_as_scanned(picture.read(), config.intake, config.output)
                    distances = known.get(image.sha256)
                    if distances is None:
                        seed = seed_for(str(plan.seed).encode(), image)
                        distances = measure(detector, image, view_seed=seed)
                        file.write(_line(binding, image.sha256, distances).encode())
                        file.flush()
                        known[image.sha256] = distances
                except (ImageRejected, ConfigError) as error:
                    problems.append(f"{picture.name}: {error.message}")
                    continue
                found.setdefault(image.sha256, Measured(picture, side, image.sha256, distances))
    except OSError as error:
        raise ConfigError(
            f"Cannot write {plan.distances}: {error.strerror}.", remedy="Make space."
        ) from error
    return list(found.values()), problems


def read_distances(path: Path, binding: str) -> dict[str, ImageDistances]:
    """What was measured with the same encoder, words, patches and transport, by SHA-256.

    A line that is not whole, as a killed process leaves it, is as if it was not there.
    """
    found: dict[str, ImageDistances] = {}
    if not path.is_file():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            if record["binding"] == binding:
                found[str(record["sha256"])] = tuple(map(_of_json, record["distances"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def fit(
    detector: Detector, safe: Sequence[Measured], unsafe: Sequence[Measured], plan: Plan
) -> Fitted:
    """Fit the thresholds on one part and test them on the other.

    Raises:
        ConfigError: there are too few pictures for a promise, or no threshold keeps both.
    """
    rng = np.random.default_rng(plan.seed)
    parts = []
    for images in (safe, unsafe):
        order, held = split_held_out(len(images), plan.held_out, rng)
        parts.append(([images[n] for n in order[held:]], [images[n] for n in order[:held]]))
    (safe_kept, safe_rest), (unsafe_kept, unsafe_rest) = parts
    profile = fit_profile(
        detector,
        [one.distances for one in safe_kept],
        {"unsafe": [one.distances for one in unsafe_kept]},
        plan.max_false_alarm,
        max_miss=plan.max_miss,
    )
    profile = with_held_out(
        profile, [one.distances for one in safe_rest], [one.distances for one in unsafe_rest]
    )
    rest = frozenset(one.sha256 for one in (*safe_rest, *unsafe_rest))
    return Fitted(profile, rest)


def margin(profile: ThresholdProfile, distances: ImageDistances) -> float:
    """How far a picture is from being flagged: its least distance above a threshold; ≤ 0 = is."""
    return min(
        value - own.threshold_of(category, form)
        for own, measured in zip(profile.members, distances, strict=True)
        for form, nearest in measured.items()
        for category, value in nearest.items()
    )


def _end_the_last_line(file: IO[bytes]) -> None:
    """A killed process may have left half a line, which must not take the next one with it."""
    size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.write(b"\n")


def _digest(detector: Detector) -> str:
    record = [dict(meter.binding) for meter in detector.meters]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _line(binding: str, sha256: str, distances: ImageDistances) -> str:
    record = {
        "binding": binding,
        "sha256": sha256,
        "distances": [{form: dict(near) for form, near in one.items()} for one in distances],
    }
    return json.dumps(record) + "\n"


def _of_json(value: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, float]]:
    found = {
        str(form): {str(name): float(number) for name, number in nearest.items()}
        for form, nearest in value.items()
    }
    if not all(math.isfinite(number) for near in found.values() for number in near.values()):
        raise ValueError("a distance is not finite")
    return found
