"""The utility figure of a suite, by its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.metrics import Estimate
from guardalign_middleware.evaluation.suites.manifest import Item, Manifest
from guardalign_middleware.evaluation.utility.choices import letter_accuracy, mmbench
from guardalign_middleware.evaluation.utility.mme import mme
from guardalign_middleware.evaluation.utility.short_answers import exact_accuracy, vqa_accuracy


@dataclass(frozen=True)
class UtilityScore:
    """Figures of one suite.

    Attributes:
        suite: its name.
        figures: name → figure. Shares are from 0 to 1, points of MME are points.
        unread: answers that the rule cannot read, which are wrong; None = it reads every answer.
    """

    suite: str
    figures: Mapping[str, Estimate]
    unread: int | None = None


def utility(manifest: Manifest, items: Sequence[Item], answers: Mapping[str, str]) -> UtilityScore:
    """Score answers by the rule of the suite's authors.

    Raises:
        ConfigError: the suite has no such rule, or an answer is missing.
    """
    name = manifest.name
    if manifest.metric == "mme":
        points = mme(items, answers)
        parts = {"perception": points.perception, "cognition": points.cognition}
        return UtilityScore(name, {key: one for key, one in parts.items() if one}, points.unread)
    if manifest.metric == "mmbench":
        score = mmbench(items, answers)
        return UtilityScore(name, {"circular accuracy": score.circular}, score.unread)
    if manifest.metric == "vqa_accuracy":
        agreed = name == "textvqa"
        return UtilityScore(
            name, {"accuracy": vqa_accuracy(items, answers, normalise_agreed=agreed)}
        )
    if manifest.metric == "accuracy":
        rule = letter_accuracy if name == "scienceqa-img" else exact_accuracy
        return UtilityScore(name, {"accuracy": rule(items, answers)})
    raise ConfigError(
        f"{name} has no utility to score.", remedy="Judge its answers for harm or refusal."
    )
