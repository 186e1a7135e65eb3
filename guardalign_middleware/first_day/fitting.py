"""Measure pictures, go on where it broke off, and fit thresholds, for `calibrate` and `init`."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from guardalign_middleware.detection.order_statistics import TooFewImages, retold
from guardalign_middleware.detection.view_seed import seed_for
from guardalign_middleware.errors import ConfigError, GuardAlignError
from guardalign_middleware.first_day.picture_sets import Picture, Side
from guardalign_middleware.output import load_as_scanned
from guardalign_middleware.writing import unwritable

_NAMED = 3
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
    seed: int,
    tracked: Tracked,
    *,
    kept: Path | None = None,
) -> tuple[list[Measured], list[str]]:
    """Distances of all pictures, equal ones once; those that were measured before are not again.

    Args:
        detector: measures; its profile is not asked.
        config: by which pictures are read.
        pictures: of one side.
        side: which.
        seed: of random views, which makes the profile repeatable.
        tracked: shows the progress.
        kept: file in which distances are kept; None = nowhere.

    Returns:
        What was measured, in order, and what is wrong with the other pictures.

    Raises:
        ConfigError: the distances cannot be written.
    """
    binding = _digest(detector)
    known = {} if kept is None else read_distances(kept, binding)
    found: dict[str, Measured] = {}
    problems: list[str] = []
    for picture in tracked(pictures, f"{side} pictures"):
        try:
            image = load_as_scanned(picture.read(), config.intake, config.output)
            distances = known.get(image.sha256)
            if distances is None:
                view_seed = seed_for(str(seed).encode(), image)
                distances = measure(detector, image, view_seed=view_seed)
        except GuardAlignError as error:
            problems.append(f"{picture.name}: {error.message}")
            continue
        if kept is not None and image.sha256 not in known:
            _append(kept, {"binding": binding, "sha256": image.sha256, "distances": distances})
        known[image.sha256] = distances
        found.setdefault(image.sha256, Measured(picture, side, image.sha256, distances))
    return list(found.values()), problems


def read_distances(path: Path, binding: str) -> dict[str, ImageDistances]:
    """What was measured with the same encoder, words, patches and transport, by SHA-256."""
    found: dict[str, ImageDistances] = {}
    for record in _records(path):
        try:
            if record["binding"] == binding:
                found[str(record["sha256"])] = tuple(map(_of_json, record["distances"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def note_split(path: Path, fitted: Fitted) -> None:
    """Keep which pictures were held out of a profile, beside the distances.

    Raises:
        ConfigError: it cannot be written.
    """
    record = {"profile": fitted.profile.fingerprint, "held_out": sorted(fitted.held_out)}
    _append(path, record)


def read_split(path: Path, profile: ThresholdProfile) -> frozenset[str] | None:
    """SHA-256 of the pictures that were held out of a profile; None = that was not kept here."""
    found = None
    for record in _records(path):
        # The last fit of this profile wrote the file that is in use.
        if isinstance(record, dict) and record.get("profile") == profile.fingerprint:
            found = frozenset(map(str, record.get("held_out") or ()))
    return found


def check_apart(groups: Mapping[str, Mapping[Hashable, str]]) -> None:
    """Reject a picture that is in two groups, such as the safe and the unsafe ones.

    Args:
        groups: name of a group → what tells its pictures apart → their names.

    Raises:
        ConfigError: there is one; the message names it in both groups.
    """
    first: dict[Hashable, tuple[str, str]] = {}
    shared = []
    for group, pictures in groups.items():
        for key, name in pictures.items():
            other, same = first.setdefault(key, (group, name))
            if other == group:
                continue
            if name == same:
                shared.append(f"{name} ({other} and {group})")
            else:
                shared.append(f"{name} ({group}) equals {same} ({other})")
    if shared:
        more = f"; and {len(shared) - _NAMED:,} more" if len(shared) > _NAMED else ""
        raise ConfigError(
            f"The same picture is in two groups: {'; '.join(shared[:_NAMED])}{more}.",
            remedy="Keep each picture in one of them. Folders are read at every depth, so one "
            "folder should not lie in another.",
        )


def check_sources_apart(groups: Mapping[str, Sequence[Picture]]) -> None:
    """`check_apart` by the files of pictures, before they are read.

    Raises:
        ConfigError: a picture is in two groups.
    """
    check_apart({name: {one.place: one.name for one in some} for name, some in groups.items()})


def check_pixels_apart(groups: Mapping[str, Sequence[Measured]]) -> None:
    """`check_apart` by what is seen, which finds copies, too.

    Raises:
        ConfigError: a picture is in two groups.
    """
    check_apart(
        {name: {one.sha256: one.picture.name for one in some} for name, some in groups.items()}
    )


def fit(
    detector: Detector,
    groups: Mapping[str, Sequence[Measured]],
    max_false_alarm: float | None,
    max_miss: float | None,
    *,
    held_out: float,
    seed: int,
    per_category: bool = False,
) -> Fitted:
    """Fit the thresholds on one part and test them on the other.

    Args:
        detector: that measured the pictures.
        groups: the `safe` ones first, then the unsafe ones; with `per_category`, in groups that
            are named after their categories.
        max_false_alarm: the promise about safe pictures, or None.
        max_miss: the promise about unsafe pictures, or None.
        held_out: share of each group that is left out of the fit.
        seed: of the split.
        per_category: fit one threshold for each category.

    Raises:
        ConfigError: there are too few pictures for a promise, no threshold keeps both, or a
            picture is in two groups.
    """
    check_pixels_apart(groups)
    rng = np.random.default_rng(seed)
    kept: dict[str, list[ImageDistances]] = {}
    rest: dict[str, list[Measured]] = {}
    for name, images in groups.items():
        order, held = split_held_out(len(images), held_out, rng)
        kept[name] = [images[number].distances for number in order[held:]]
        rest[name] = [images[number] for number in order[:held]]
    digests = frozenset(one.sha256 for some in rest.values() for one in some)
    safe, safe_rest = kept.pop("safe"), [one.distances for one in rest.pop("safe")]
    try:
        profile = fit_profile(
            detector, safe, kept, max_false_alarm, max_miss=max_miss, per_category=per_category
        )
    except TooFewImages as error:
        raise retold(error, error.message, held_out) from error
    unsafe_rest = [one.distances for some in rest.values() for one in some]
    return Fitted(with_held_out(profile, safe_rest, unsafe_rest), digests)


def margin(profile: ThresholdProfile, distances: ImageDistances) -> float:
    """How far a picture is from being flagged: its least distance above a threshold; ≤ 0 = is."""
    return min(
        value - own.threshold_of(category, form)
        for own, measured in zip(profile.members, distances, strict=True)
        for form, nearest in measured.items()
        for category, value in nearest.items()
    )


def _records(path: Path) -> Iterator[Any]:
    """The lines of the file; one that is not whole, as a killed process leaves it, is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def _append(path: Path, record: Mapping[str, object]) -> None:
    with unwritable(path), path.open("a+b") as file:
        # A killed process may have left half a line, which must not take the next one with it.
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
        begin = b"\n" if size and file.read(1) != b"\n" else b""
        file.write(begin + json.dumps(record).encode() + b"\n")


def _digest(detector: Detector) -> str:
    record = [dict(meter.binding) for meter in detector.meters]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _of_json(value: Mapping[str, Mapping[str, float]]) -> Mapping[str, Mapping[str, float]]:
    found = {
        str(form): {str(name): float(number) for name, number in nearest.items()}
        for form, nearest in value.items()
    }
    if not all(math.isfinite(number) for near in found.values() for number in near.values()):
        raise ValueError("a distance is not finite")
    return found
