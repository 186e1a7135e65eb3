"""Every attack against the detector, and every counter-measure against the strongest ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from guardalign_middleware.boxes import covered
from guardalign_middleware.detection import Detector, Meter, ThresholdProfile
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.attacks.defences import (
    NO_DEFENCE,
    defences_for,
    flagged,
    patches_of,
    smallest_crops,
)
from guardalign_middleware.evaluation.attacks.gradient import evade, random_view_seed
from guardalign_middleware.evaluation.attacks.pictures import FAMILIES
from guardalign_middleware.evaluation.attacks.target import Target
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.types import CanonicalImage, FormName

CLEAN: Final = "no attack"
STRADDLED: Final = "moved onto crop borders"
GRADIENT: Final = "gradient"
LEVELS: Final = (2, 4, 8)


@dataclass(frozen=True)
class AttackRow:
    """One attack against the detector as configured.

    Attributes:
        family: the kind of attack, a key of `FAMILIES` or `GRADIENT`; empty without an attack.
        attack: its name.
        detected: share of the images in which something was still found.
        located: share in which the regions cover at least half of every unsafe thing.
    """

    family: str
    attack: str
    detected: Estimate
    located: Estimate


@dataclass(frozen=True)
class DefenceRow:
    """One counter-measure, at the unchanged threshold.

    Attributes:
        defence: its name.
        scans: its cost, in patches embedded per patch of a plain scan.
        false_alarms: share of the safe images that it flags; None without safe images.
        detected: attack → share of the attacked images in which something was found.
    """

    defence: str
    scans: float
    false_alarms: Estimate | None
    detected: dict[str, Estimate]


@dataclass(frozen=True)
class AttackReport:
    """The outcome of all attacks on `images` unsafe and of the scans of `safe` safe images."""

    images: int
    safe: int
    attacks: tuple[AttackRow, ...]
    defences: tuple[DefenceRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def run_attacks(
    detector: Detector,
    targets: Sequence[Target],
    safe: Sequence[CanonicalImage] = (),
    *,
    levels: Sequence[int] = LEVELS,
    steps: int = 10,
    seed: int = 0,
    compare: bool = True,
    progress: Callable[[Sequence[Target]], Iterable[Target]] = iter,
) -> AttackReport:
    """Run every attack on each picture.

    The detector is attacked as configured, by an attacker who knows its configuration. The
    counter-measures, its own included, are measured without an attack, on pictures moved onto crop
    borders, and against the gradient with the largest ε: once by an attacker who assumes a plain
    detector, and once by one who attacks through all its views and encoders.

    Args:
        detector: with a threshold profile; its thresholds stay the same for all counter-measures.
        targets: unsafe pictures and the boxes of the things.
        safe: pictures that should not be flagged.
        levels: ε of the gradient attack, in 8-bit levels.
        steps: number of steps of the gradient attack.
        seed: random seed.
        compare: also measure counter-measures that are not configured; takes most of the time.
        progress: wraps the loop over the targets.

    Raises:
        ConfigError: there is no profile or no target, or an encoder has no gradients.
        DetectionError: the detector gave no trustworthy number.
    """
    if detector.profile is None or not targets or not levels:
        raise ConfigError("The attacks need a threshold profile, an unsafe image and one ε.")
    compared = {one.name: one.applied(detector) for one in defences_for(detector, compare=compare)}
    tally = _Tally(detector, detector.profile, compared, max(levels), steps)
    for number, target in enumerate(progress(targets)):
        tally.attack(target, levels, np.random.default_rng((seed, number)))
    for number, image in enumerate(safe):
        tally.look_at_safe(image, np.random.default_rng((seed, 1, number)))
    return tally.report(len(targets), len(safe))


class _Tally:
    def __init__(
        self,
        detector: Detector,
        profile: ThresholdProfile,
        defences: Mapping[str, Detector],
        strongest: int,
        steps: int,
    ) -> None:
        self._detector = detector
        self._profile = profile
        self._strongest = strongest
        self._steps = steps
        self._defences = defences
        self._found: dict[tuple[str, str], list[bool]] = defaultdict(list)
        self._located: dict[tuple[str, str], list[bool]] = defaultdict(list)
        self._defended: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
        self._alarms: dict[str, list[bool]] = defaultdict(list)
        self._patches: dict[str, int] = defaultdict(int)

    def attack(self, target: Target, levels: Sequence[int], rng: np.random.Generator) -> None:
        for name, detector in self._defences.items():
            self._patches[name] += patches_of(detector, target.image, random_view_seed(rng))
        self._scan("", CLEAN, target, rng)
        crops = smallest_crops(self._detector)
        for family, attacks in FAMILIES.items():
            for name, attack in attacks.items():
                attacked = attack(target, crops, rng)
                self._scan(family, name, attacked, rng)
                if name == STRADDLED:
                    self._defend(name, attacked, rng)
        evaded = {level: self._evaded(self._detector, target, level, rng) for level in levels}
        for level, attacked in evaded.items():
            self._scan(GRADIENT, _gradient(level), attacked, rng)
        self._defend(CLEAN, target, rng)
        plain = self._defences[NO_DEFENCE.name]
        if plain.config.defence == self._detector.config.defence:
            unaware = evaded[self._strongest]
        else:
            unaware = self._evaded(plain, target, self._strongest, rng)
        self._defend(_unknown(self._strongest), unaware, rng)
        for name, detector in self._defences.items():
            if name == NO_DEFENCE.name:
                continue  # there is nothing to know
            adapted = self._evaded(detector, target, self._strongest, rng)
            found = self._flagged(detector, adapted.image, rng)
            self._defended[name][_known(self._strongest)].append(found)

    def _evaded(
        self, detector: Detector, target: Target, level: int, rng: np.random.Generator
    ) -> Target:
        members = self._profile.members[: len(detector.meters)]
        thresholds = [
            partial(_largest, one, meter)
            for one, meter in zip(members, detector.meters, strict=True)
        ]
        return evade(detector, target, thresholds, levels=level, steps=self._steps, rng=rng)

    def _flagged(self, detector: Detector, image: CanonicalImage, rng: np.random.Generator) -> bool:
        return flagged(detector, self._profile, image, random_view_seed(rng))

    def _scan(self, family: str, name: str, target: Target, rng: np.random.Generator) -> None:
        verdict = self._detector.scan(target.image, view_seed=random_view_seed(rng))
        regions = [region.box for region in verdict.regions]
        self._found[family, name].append(bool(regions))
        self._located[family, name].append(
            all(covered(box, regions) >= 0.5 for box in target.boxes)
        )

    def _defend(self, name: str, target: Target, rng: np.random.Generator) -> None:
        for defence, detector in self._defences.items():
            found = self._flagged(detector, target.image, rng)
            self._defended[defence][name].append(found)

    def look_at_safe(self, image: CanonicalImage, rng: np.random.Generator) -> None:
        for defence, detector in self._defences.items():
            self._alarms[defence].append(self._flagged(detector, image, rng))

    def report(self, images: int, safe: int) -> AttackReport:
        rows = tuple(
            AttackRow(family, name, _share(found), _share(self._located[family, name]))
            for (family, name), found in self._found.items()
        )
        known, unknown = _known(self._strongest), _unknown(self._strongest)
        plain = self._defended[NO_DEFENCE.name]
        plain[known] = plain[unknown]  # there is nothing to know
        defences = tuple(
            DefenceRow(
                defence=name,
                scans=self._patches[name] / self._patches[NO_DEFENCE.name],
                false_alarms=_share(self._alarms[name]) if safe else None,
                detected={
                    attack: _share(self._defended[name][attack])
                    for attack in (CLEAN, STRADDLED, unknown, known)
                },
            )
            for name in self._defences
        )
        return AttackReport(images, safe, rows, defences)


def _largest(profile: ThresholdProfile, meter: Meter, form: FormName) -> float:
    """τ of the patches of a form, whatever category they are nearest to."""
    return max(profile.threshold_of(category, form) for category in meter.anchors.categories)


def _gradient(level: int) -> str:
    return f"gradient, ε = {level}/255"


def _unknown(level: int) -> str:
    return f"{_gradient(level)}, defence unknown"


def _known(level: int) -> str:
    return f"{_gradient(level)}, defence known"


def _share(outcomes: Sequence[bool]) -> Estimate:
    return rate(sum(outcomes), len(outcomes))
