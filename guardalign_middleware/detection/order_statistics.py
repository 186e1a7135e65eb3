"""Thresholds with guaranteed error rates, as order statistics: distances to thresholds.

A model gets a picture in several forms, and an image is flagged when its distance in any form is
at most the τ of that form. Distances come as arrays `[images, forms]`, infinite where an image has
none.

**The curve.** Forms differ in scale, and they agree or differ from image to image. So all τ lie on
one curve of equal quantiles: at each point, every form flags the same share of the safe images on
its own. How far along the curve they may lie is counted on images, over all forms together. An
equal split of α (Bonferroni) is the special case that assumes the worst: no safe image is close in
two forms. For the use of ranks across dependent tests see Timans et al., "Max-Rank: Efficient
Multiple Testing for Conformal Prediction", AISTATS 2025 (arXiv 2311.10900), after Westfall and
Young, 1993.

**False alarms.** Let d[i, f] be the distance of safe image i of n in form f = 0 … F − 1, x[f, j]
the j-th smallest of form f, and c[i, f] how many of form f are at most d[i, f] (the image itself
counts). Level ℓ = 0, 1, 2, … moves one form by one rank, in turn. Form f then stands at rank

    j(f, ℓ) = ⌊(ℓ + F − 1 − f) / F⌋,    τ[f] just below x[f, j(f, ℓ)].

Take the largest ℓ such that for every form f

    1 + #{i : c[i, f] ≤ j(f, ℓ) − 1, or c[i, g] ≤ j(g, ℓ) for some g ≠ f}  ≤  α (n + 1).

With one form that is ℓ = ⌊α (n + 1)⌋, the order statistic of split conformal prediction.

*Proof.* Add the new image to the n. Call one of the n + 1 *early at ℓ* when in some form g it is
below the j(g, ℓ)-th smallest of the n others; the new image is flagged exactly if it is early. Let
N(ℓ) be the number of early ones, which grows with ℓ, and λ the largest ℓ with N(ℓ) ≤ α (n + 1).
λ does not depend on the order of the images. So when they are exchangeable, the new one is early
at λ with probability E N(λ) / (n + 1) ≤ α. It remains to show that ℓ ≤ λ whenever some form f flags
the new image. An image i is early by form g only if at most j(g, ℓ) − 1 others are at or below it,
thus c[i, g] ≤ j(g, ℓ). By form f itself, it is early only if c[i, f] ≤ j(f, ℓ) − 1: where d[i, f]
is at least the new distance, the new image is one of those others; where it is less, it is below
x[f, j(f, ℓ)] too. So the condition counts all early ones, and N(ℓ) ≤ α (n + 1). ∎

Every image serves both the quantiles and the bound, ties only lower the rate, and F / α − 1 safe
images are always enough; the more the forms agree, the fewer.

**Misses.** With α given, τ depends on the safe images only, and enough unsafe images have to be
found by it. Without α, the safe images fix the curve (interpolated between their distances), the
score of an unsafe image is the smallest of its quantiles over the forms, and τ is the point of the
curve at the k-th smallest of m scores, k = ⌈(1 − β)(m + 1)⌉: split conformal prediction of that
score. One form needs no curve: the score is the distance.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.errors import ConfigError

Distances = NDArray[np.float64]
"""`[images, forms]`; infinite where an image has none."""


class TooFewImages(ConfigError):
    """There are too few images for a bound.

    Args:
        message: what is wrong.
        kind: of the images.
        needed: images that are enough, all of which set the threshold.
        held_out: share of the images that is left out of the fit.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: Literal["safe", "unsafe"],
        needed: int,
        held_out: float = 0.0,
    ) -> None:
        self.kind, self.needed = kind, needed
        count = needed
        while count - round(held_out * count) < needed:
            count += 1
        fitted = f" ({count - needed} of them are held out)" if count > needed else ""
        option = "max_false_alarm" if kind == "safe" else "max_miss"
        super().__init__(
            message,
            remedy=f"Use at least {count} {kind} images{fitted}, or a larger {option} (on the "
            f"command line, --{option.replace('_', '-')}).",
        )


def retold(error: ConfigError, message: str, held_out: float = 0.0) -> ConfigError:
    """An error of a fit in other words, and about all images if a share of them is held out."""
    if isinstance(error, TooFewImages):
        return TooFewImages(message, kind=error.kind, needed=error.needed, held_out=held_out)
    return ConfigError(message, remedy=error.remedy)


def fit_thresholds(
    safe: Distances,
    unsafe: Distances,
    max_false_alarm: float | None,
    max_miss: float | None,
    *,
    ceiling: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The largest thresholds on the curve that keep α, or without α the smallest that keep β.

    Args:
        safe: distances of the safe images `[n, F]`.
        unsafe: distances of the unsafe images `[m, F]`.
        max_false_alarm: α in (0, 1), or None.
        max_miss: β in (0, 1), or None; at least one of the two is given.
        ceiling: the largest distance of a safe image in each form `[F]`; bounds the thresholds of
            forms that few safe images come near.

    Returns:
        Thresholds `[F]`.

    Raises:
        ConfigError: there are too few images for a bound, or no thresholds keep both.
    """
    lowest = None if max_miss is None else lowest_thresholds(unsafe, safe, ceiling, max_miss)
    if max_false_alarm is None:
        assert lowest is not None  # at least one bound is given
        return lowest
    highest = highest_thresholds(safe, max_false_alarm)
    if lowest is None or max_miss is None:
        return np.minimum(highest, ceiling)
    highest = np.minimum(highest, np.maximum(ceiling, lowest))
    found = (unsafe <= highest).any(axis=1)
    if found.sum() < _found_rank(len(unsafe), max_miss):
        raise ConfigError(
            f"No threshold keeps both bounds: {max_false_alarm:.3g} false alarms would miss "
            f"{1.0 - found.mean():.1%} of the unsafe images, {max_miss:.3g} misses would flag "
            f"{(safe <= lowest).any(axis=1).mean():.1%} of the safe ones.",
            remedy="Raise one of the bounds, or use an encoder that separates them better.",
        )
    return highest


def check_counts(
    safe: int, unsafe: int, max_false_alarm: float | None, max_miss: float | None, forms: int = 1
) -> None:
    """Reject numbers of images that no distances can make enough, before they are measured.

    Args:
        safe: number of safe images.
        unsafe: number of unsafe images.
        max_false_alarm: α in (0, 1), or None.
        max_miss: β in (0, 1), or None.
        forms: in which they are looked at.

    Raises:
        ConfigError: there are too few for a bound.
    """
    if max_false_alarm is not None and _alarm_rank(safe, max_false_alarm) < 1:
        raise _too_few_safe(safe, max_false_alarm, forms)
    if max_miss is not None and _found_rank(unsafe, max_miss) > unsafe:
        raise _too_few_unsafe(unsafe, max_miss)


def highest_thresholds(safe: Distances, bound: float) -> NDArray[np.float64]:
    """The largest thresholds on the curve that flag a new safe image with at most this probability.

    Args:
        safe: distances of the safe images `[n, F]`.
        bound: α.

    Returns:
        Thresholds `[F]`; the largest float where no safe image limits a form.

    Raises:
        ConfigError: there are too few images.

    Examples:
        Of 39 images and a new one, two may be flagged at α = 5%. Here the forms disagree, so
        that is one by each form.

        >>> first = np.arange(1.0, 40.0)
        >>> distances = np.stack([first, 100.0 - first], axis=1)
        >>> highest_thresholds(distances, 0.05).round(6).tolist()
        [1.0, 61.0]
    """
    count, forms = safe.shape
    rank = _alarm_rank(count, bound)
    order = np.arange(forms)
    columns = np.sort(safe, axis=0)
    last = 0
    if rank >= 1:
        closest = np.array(
            [np.searchsorted(columns[:, form], safe[:, form], side="right") for form in order]
        ).T
        level = np.where(np.isfinite(safe), forms * (closest - 1) + order + 1, np.inf)
        # In the form that flags a new image, the others count one rank, thus F levels, later.
        counted = (np.sort((level + forms * (order == form)).min(axis=1)) for form in order)
        # All n are the end of the curve, where the distances of a form may be infinite.
        last = int(min(*(levels[rank - 1] - 1 for levels in counted), forms * count))
    if last < forms:
        raise _too_few_safe(count, bound, forms)
    reached = columns[(last + forms - 1 - order) // forms - 1, order]
    below: NDArray[np.float64] = np.nextafter(reached, -np.inf)
    return below


def lowest_thresholds(
    unsafe: Distances, safe: Distances, ceiling: NDArray[np.float64], bound: float
) -> NDArray[np.float64]:
    """The smallest thresholds on the curve that allow a new unsafe image with this probability.

    Args:
        unsafe: distances of the unsafe images `[m, F]`.
        safe: distances of the safe images `[n, F]`; they fix the curve of several forms.
        ceiling: the largest distance of a safe image in each form `[F]`, the end of the curve.
        bound: β.

    Returns:
        Thresholds `[F]`.

    Raises:
        ConfigError: there are too few images, or too many unsafe ones are beyond the curve.
    """
    count, forms = unsafe.shape
    rank = _found_rank(count, bound)
    if rank > count:
        raise _too_few_unsafe(count, bound)
    if forms == 1:
        score = unsafe
    elif len(safe) == 0:
        raise ConfigError(
            "Thresholds by form need safe images, also to bound misses alone.",
            remedy="Add safe images. They show which distances are equally rare in each form.",
        )
    else:
        curves = [_curve(safe[:, form], float(ceiling[form])) for form in range(forms)]
        score = np.array(
            [
                np.interp(unsafe[:, form], distances, ranks, right=np.inf)
                for form, (distances, ranks) in enumerate(curves)
            ]
        ).T
    limit = float(np.sort(score.min(axis=1))[rank - 1])
    if not math.isfinite(limit):
        raise ConfigError(
            f"{bound:.3g} misses cannot be guaranteed, because more of the unsafe images have no "
            "patch that is nearest to their category"
            + (" or are farther than every safe one." if forms > 1 else "."),
            remedy="Allow more misses, or use anchors that describe these images.",
        )
    if forms == 1:
        return np.array([limit])
    point = [np.interp(limit, ranks, distances) for distances, ranks in curves]
    # Rounding must not lose an image that the score counts as found.
    found = np.where(score <= limit, unsafe, -np.inf).max(axis=0)
    thresholds: NDArray[np.float64] = np.maximum(point, found)
    return thresholds


def _curve(
    safe: NDArray[np.float64], ceiling: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of one form, increasing, and the number of safe images at or below each.

    It runs from no image at distance 0 to one more than there are at the ceiling.
    """
    known = np.sort(safe[np.isfinite(safe)])
    distances, copies = np.unique(known, return_counts=True)
    ranks = copies.cumsum()
    if len(known) == 0 or distances[0] > 0.0:
        distances, ranks = np.append(0.0, distances), np.append(0, ranks)
    if distances[-1] < ceiling:
        distances, ranks = np.append(distances, ceiling), np.append(ranks, len(known) + 1)
    return distances, ranks.astype(np.float64)


def _too_few_safe(count: int, bound: float, forms: int) -> TooFewImages:
    over = "" if forms == 1 else f" over {forms} forms"
    return TooFewImages(
        f"{count} safe images cannot guarantee {bound:.3g} false alarms{over}.",
        kind="safe",
        needed=_needed(bound / forms),
    )


def _too_few_unsafe(count: int, bound: float) -> TooFewImages:
    return TooFewImages(
        f"{count} unsafe images cannot guarantee {bound:.3g} misses.",
        kind="unsafe",
        needed=_needed(bound),
    )


def _alarm_rank(count: int, bound: float) -> int:
    # The small term undoes rounding such as 0.05 * 20 < 1; exact multiples keep their rank.
    return math.floor(bound * (count + 1) + 1e-9)


def _found_rank(count: int, bound: float) -> int:
    return math.ceil((1.0 - bound) * (count + 1) - 1e-9)


def _needed(bound: float) -> int:
    return math.ceil(1.0 / bound - 1e-9) - 1
