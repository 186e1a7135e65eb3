"""What the sliders of the playground move: thresholds, margin and the strength γ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from guardalign_middleware.config import GuardAlignConfig, SanitizeConfig
from guardalign_middleware.detection import ThresholdProfile
from guardalign_middleware.detection.profile import CategoryThreshold, FormThreshold

EXPONENTS = (-3.5, 1.5)
"""Range of the threshold slider: powers of ten of the profile's own thresholds."""
MARGINS = (0.0, 1.0)
GAMMAS = (0.0, 100.0)


@dataclass(frozen=True)
class Settings:
    """One position of all sliders.

    Attributes:
        exponent: every threshold of the profile is multiplied by 10 to this power. Thresholds of
            forms and categories differ by orders of magnitude, so they move together.
        margin: `sanitize.margin`, what is hidden around a region.
        gamma: strength of the calibration; None where the model's attention cannot be calibrated.
    """

    exponent: float
    margin: float
    gamma: float | None

    def __post_init__(self) -> None:
        for name, value, (low, high) in (
            ("exponent", self.exponent, EXPONENTS),
            ("margin", self.margin, MARGINS),
            ("gamma", self.gamma or 0.0, GAMMAS),
        ):
            # A comparison with NaN is false, so NaN is refused as well.
            if not low <= value <= high:
                raise ValueError(f"{name} should be from {low} to {high}. Received {value}.")

    @classmethod
    def of(cls, config: GuardAlignConfig, *, calibrated: bool) -> Settings:
        """The sliders as the preset has them.

        Args:
            config: of the guard.
            calibrated: whether there is a model whose attention can be calibrated.
        """
        gamma = config.runner.calibration.gamma if calibrated and config.runner else None
        return cls(0.0, config.sanitize.margin, gamma)

    @property
    def factor(self) -> float:
        """What every threshold is multiplied by."""
        return 1.0 if self.exponent == 0.0 else math.pow(10.0, self.exponent)

    def profile(self, own: ThresholdProfile) -> ThresholdProfile:
        """The profile with moved thresholds, and without its guarantee; itself at exponent 0."""
        return own if self.factor == 1.0 else moved(own, self.factor)

    def sanitize(self, own: SanitizeConfig) -> SanitizeConfig:
        """The preset's way of cleaning with this margin."""
        return own if own.margin == self.margin else own.model_copy(update={"margin": self.margin})


def moved(profile: ThresholdProfile, factor: float) -> ThresholdProfile:
    """A profile whose thresholds are all multiplied by a factor.

    What was guaranteed or measured for the old thresholds does not hold for the new ones, so the
    new profile says so and has another fingerprint.
    """
    fit = replace(
        profile.fit, max_false_alarm=None, max_miss=None, held_out_safe=None, held_out_unsafe=None
    )
    return replace(
        profile,
        threshold=factor * profile.threshold,
        guarantee=f"None: the thresholds were multiplied by {factor:.4g} in the playground.",
        fit=fit,
        by_category=_moved_categories(profile.by_category, factor),
        by_form={
            name: FormThreshold(
                factor * form.threshold,
                {category: factor * value for category, value in form.by_category.items()},
            )
            for name, form in profile.by_form.items()
        },
        second=None if profile.second is None else moved(profile.second, factor),
    )


def _moved_categories(
    categories: Mapping[str, CategoryThreshold], factor: float
) -> dict[str, CategoryThreshold]:
    return {
        name: replace(one, threshold=factor * one.threshold, max_false_alarm=None)
        for name, one in categories.items()
    }
