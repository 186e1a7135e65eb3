"""Every attack against the detector, and every counter-measure against the strongest ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.detection.patches import patch_boxes
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.attacks.gradient import evade
from guardalign_middleware.evaluation.attacks.pictures import ATTACKS, Target
from guardalign_middleware.evaluation.attacks.views import DEFENCES, NO_DEFENCE
from guardalign_middleware.evaluation.localisation import covered
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.types import CanonicalImage

CLEAN: Final = "no attack"
STRADDLED: Final = "moved onto crop borders"
LEVELS: Final = (2, 4, 8)


@dataclass(frozen=True)
class AttackRow:
    """One attack against the detector as it is.

    Attributes:
        attack: its name.
        detected: share of the images in which something was still found.
        located: share in which the found regions cover at least half of every unsafe thing.
    """

    attack: str
    detected: Estimate
    located: Estimate


@dataclass(frozen=True)
class DefenceRow:
    """One counter-measure, at the unchanged threshold.

    Attributes:
        defence: its name.
        scans: what it costs, in patches scanned per patch of a plain scan.
        false_alarms: share of the safe images that it flags; None without safe images.
        detected: attack → share of the attacked images in which something was found.
    """

    defence: str
    scans: float
    false_alarms: Estimate | None
    detected: dict[str, Estimate]


@dataclass(frozen=True)
class AttackReport:
    """What the attacks did; `images` unsafe ones were attacked, `safe` ones measured."""

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
    progress: Callable[[Sequence[Target]], Iterable[Target]] = iter,
) -> AttackReport:
    """Attack each picture in every way.

    The counter-measures are measured without an attack, on pictures moved onto crop borders, and
    against the gradient with the largest ε: once of an attacker who does not know them, and once of
    one who does and attacks through their views.

    Args:
        detector: with a threshold profile.
        targets: unsafe pictures and where the things are.
        safe: pictures that should not be flagged.
        levels: ε of the gradient attack, in 8-bit levels.
        steps: of the gradient attack.
        seed: of everything random.
        progress: wraps the loop over the targets.

    Raises:
        ConfigError: no profile, no target, or an encoder without gradients.
        DetectionError: the detector gave no trustworthy number.
    """
    if detector.profile is None or not targets or not levels:
        raise ConfigError("The attacks need a threshold profile, an unsafe image and one ε.")
    tally = _Tally(detector, detector.profile, max(levels), steps)
    for number, target in enumerate(progress(targets)):
        tally.attack(target, levels, np.random.default_rng((seed, number)))
    for number, image in enumerate(safe):
        tally.look_at_safe(image, np.random.default_rng((seed, 1, number)))
    return tally.report(len(targets), len(safe))


class _Tally:
    def __init__(
        self, detector: Detector, profile: ThresholdProfile, strongest: int, steps: int
    ) -> None:
        self._detector = detector
        self._profile = profile
        self._strongest = strongest
        self._steps = steps
        self._detectors = {one.name: one.applied(detector) for one in DEFENCES}
        self._found: dict[str, list[bool]] = defaultdict(list)
        self._located: dict[str, list[bool]] = defaultdict(list)
        self._defended: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
        self._alarms: dict[str, list[bool]] = defaultdict(list)
        self._patches: dict[str, int] = defaultdict(int)

    def attack(self, target: Target, levels: Sequence[int], rng: np.random.Generator) -> None:
        for name, detector in self._detectors.items():
            image, config = target.image, detector.config.patches
            self._patches[name] += len(patch_boxes(image.width, image.height, config))
        self._scan(CLEAN, target)
        patches = self._detector.config.patches
        for name, attack in ATTACKS.items():
            attacked = attack(target, patches, rng)
            self._scan(name, attacked)
            if name == STRADDLED:
                self._defend(name, attacked, rng)
        for level in levels:
            self._scan(_gradient(level), attacked := self._evaded(target, level, rng))
            if level == self._strongest:
                self._defend(f"{_gradient(level)}, defence unknown", attacked, rng)
        self._defend(CLEAN, target, rng)
        for defence in DEFENCES[1:]:
            detector = self._detectors[defence.name]
            adapted = evade(
                detector,
                target,
                self._profile.threshold,
                levels=self._strongest,
                steps=self._steps,
                views=defence.views,
                rng=rng,
            )
            name = f"{_gradient(self._strongest)}, defence known"
            flagged = self._profile.flags(defence.distances(detector, adapted.image, rng))
            self._defended[defence.name][name].append(flagged)

    def _evaded(self, target: Target, level: int, rng: np.random.Generator) -> Target:
        threshold = self._profile.threshold
        return evade(self._detector, target, threshold, levels=level, steps=self._steps, rng=rng)

    def _scan(self, name: str, target: Target) -> None:
        verdict = self._detector.scan(target.image)
        regions = [region.box for region in verdict.regions]
        self._found[name].append(bool(regions))
        self._located[name].append(all(covered(box, regions) >= 0.5 for box in target.boxes))

    def _defend(self, name: str, target: Target, rng: np.random.Generator) -> None:
        for defence in DEFENCES:
            distances = defence.distances(self._detectors[defence.name], target.image, rng)
            self._defended[defence.name][name].append(self._profile.flags(distances))

    def look_at_safe(self, image: CanonicalImage, rng: np.random.Generator) -> None:
        for defence in DEFENCES:
            detector = self._detectors[defence.name]
            flagged = self._profile.flags(defence.distances(detector, image, rng))
            self._alarms[defence.name].append(flagged)

    def report(self, images: int, safe: int) -> AttackReport:
        rows = tuple(
            AttackRow(name, _share(self._found[name]), _share(self._located[name]))
            for name in self._found
        )
        known = f"{_gradient(self._strongest)}, defence known"
        unknown = f"{_gradient(self._strongest)}, defence unknown"
        plain = self._defended[NO_DEFENCE.name]
        plain[known] = plain[unknown]  # nothing to know
        defences = tuple(
            DefenceRow(
                defence=one.name,
                scans=len(one.views) * self._patches[one.name] / self._patches[NO_DEFENCE.name],
                false_alarms=_share(self._alarms[one.name]) if safe else None,
                detected={
                    name: _share(self._defended[one.name][name])
                    for name in (CLEAN, STRADDLED, unknown, known)
                },
            )
            for one in DEFENCES
        )
        return AttackReport(images, safe, rows, defences)


def _gradient(level: int) -> str:
    return f"gradient, ε = {level}/255"


def _share(outcomes: Sequence[bool]) -> Estimate:
    return rate(sum(outcomes), len(outcomes))
