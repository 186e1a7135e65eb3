"""MME: two questions about each picture, and points for tasks.

Points of a task = 100 · (share of right answers + share of pictures with both right). Perception is
the sum of ten tasks, cognition of four.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.metrics import Estimate, mean_without_spread
from guardalign_middleware.evaluation.suites.manifest import Item
from guardalign_middleware.evaluation.utility.answers import answered

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene",
              "landmark", "artwork", "OCR")  # fmt: skip
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation",
             "code_reasoning")  # fmt: skip
_MOST = 200.0
"""Points of a picture with both answers right."""


@dataclass(frozen=True)
class MMEScore:
    """Points with their 95% bootstrap intervals over pictures; `n` counts pictures.

    Attributes:
        perception: of at most 2,000; None where the items have no task of it.
        cognition: of at most 800; None likewise.
        tasks: points of each task, of at most 200.
        unread: answers that are neither yes nor no in their first four characters; they are wrong.
    """

    perception: Estimate | None
    cognition: Estimate | None
    tasks: Mapping[str, Estimate]
    unread: int


def read_yes_no(answer: str) -> str:
    """What the first four characters say: "yes", "no" or "other"; full stops are dropped.

    So "not" and "know" read as no, and "Yesterday" as yes: this is the authors' rule.
    """
    text = answer.lower().strip().replace(".", "")
    if len(text) == 1:
        return {"y": "yes", "n": "no"}.get(text, "other")
    start = text[:4]
    return "yes" if "yes" in start else "no" if "no" in start else "other"


def mme(
    items: Sequence[Item], answers: Mapping[str, str], *, resamples: int = 1000, seed: int = 0
) -> MMEScore:
    """Points of perception and cognition.

    Raises:
        ConfigError: an answer is missing, a task is unknown, or a picture has not two questions.
    """
    rights: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    unread = 0
    for item, answer in answered(items, answers):
        read = read_yes_no(answer)
        unread += read == "other"
        right = read == (item.target or "").lower().strip().replace(".", "")
        rights[str(item.metadata["category"])][str(item.metadata["question_id"])].append(right)
    rng = np.random.default_rng(seed)
    drawn = {task: _points(task, rights[task], resamples, rng) for task in rights}
    return MMEScore(
        _total(drawn, PERCEPTION),
        _total(drawn, COGNITION),
        {task: _estimate([row]) for task, row in drawn.items()},
        unread,
    )


@dataclass(frozen=True)
class _Drawn:
    value: float
    resampled: NDArray[np.float64]
    pictures: int


def _points(
    task: str, pictures: Mapping[str, list[bool]], resamples: int, rng: np.random.Generator
) -> _Drawn:
    if task not in PERCEPTION + COGNITION:
        raise ConfigError(f"MME has no task {task!r}.", remedy="Load the suite mme.")
    for name, rights in pictures.items():
        if len(rights) != 2:
            raise ConfigError(
                f"The picture {name} of {task} has {len(rights)} questions; MME asks two.",
                remedy="Score all items of the suite.",
            )
    points = np.array([50.0 * sum(pair) + 100.0 * all(pair) for pair in pictures.values()])
    rows = rng.integers(len(points), size=(resamples, len(points)))
    return _Drawn(float(points.mean()), points[rows].mean(axis=1), len(points))


def _total(drawn: Mapping[str, _Drawn], tasks: Sequence[str]) -> Estimate | None:
    found = [drawn[task] for task in tasks if task in drawn]
    return _estimate(found) if found else None


def _estimate(parts: Sequence[_Drawn]) -> Estimate:
    value, pictures = sum(part.value for part in parts), sum(part.pictures for part in parts)
    if all(np.ptp(part.resampled) == 0 for part in parts):
        # Pictures of a task with equal points; the sum of their bounds is wider than it has to be.
        edges = [mean_without_spread(part.value / _MOST, part.pictures) for part in parts]
        low, high = (_MOST * sum(bounds) for bounds in zip(*map(_bounds, edges), strict=True))
        return Estimate(value, low, high, pictures)
    low, high = np.quantile(sum(part.resampled for part in parts), (0.025, 0.975))
    return Estimate(value, float(low), float(high), pictures)


def _bounds(one: Estimate) -> tuple[float, float]:
    return one.low, one.high
