"""Fit the thresholds of guards of texts, by the same conformal prediction as those of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from guardalign_middleware.detection.conformal import fit_threshold
from guardalign_middleware.detection.profile import ThresholdProfile
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.words.guards.guard import TextGuard
from guardalign_middleware.words.guards.passage_judge import guard_binding, picture_distance
from guardalign_middleware.words.line import WordLine

Read = Sequence[WordLine]
"""The lines of one picture, in reading order."""


def fit_guards(
    guards: Sequence[TextGuard],
    safe: Sequence[Read],
    unsafe: Sequence[Read] = (),
    max_false_alarm: float = 0.05,
) -> tuple[ThresholdProfile, ...]:
    """A threshold for each of several guards, any of which may flag a picture.

    Each of k guards gets α / k (Bonferroni), so that the bound α holds for the picture, however the
    guards depend on each other; that takes k / α − 1 safe pictures. Pictures of whose words a guard
    cannot say anything count as the farthest from unsafe that it has seen.

    Args:
        guards: judge every picture.
        safe: lines of safe pictures, independent of everything trained or tuned.
        unsafe: lines of unsafe pictures, for the share detected only.
        max_false_alarm: α in (0, 1) for a picture.

    Raises:
        ConfigError: there are too few safe pictures, or a guard can say nothing about any.
        GuardError: a guard failed.
    """
    if not guards:
        raise ConfigError("There is no guard of texts to fit a threshold for.")
    profiles = []
    for guard in guards:
        measured = [picture_distance(guard, lines) for lines in safe]
        farthest = max((value for value in measured if math.isfinite(value)), default=None)
        if farthest is None:
            raise ConfigError(
                "The guard of texts can say nothing about any of the safe pictures.",
                remedy="Give pictures with words that it knows, or another guard.",
            )
        found = [picture_distance(guard, lines) for lines in unsafe]
        profiles.append(
            fit_threshold(
                [min(value, farthest) for value in measured],
                # Unknown is not detected: it must stay above any threshold.
                [value if math.isfinite(value) else farthest + 1.0 for value in found],
                max_false_alarm / len(guards),
                binding=guard_binding(guard),
            )
        )
    return tuple(profiles)
