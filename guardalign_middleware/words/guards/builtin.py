"""The built-in guard of texts: linear classifiers on hashed features, which ship."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.words.guards import features, order_features
from guardalign_middleware.words.guards.guard import Assessment

if TYPE_CHECKING:
    from guardalign_middleware.detection.profile import ThresholdProfile

FOLDER = Path(__file__).parent / "shipped"
"""Weights, thresholds and the card of the classifiers that ship."""
WEIGHTS = FOLDER / "weights.safetensors"
Head = Literal["harm", "injection"]
HEADS: tuple[Head, ...] = get_args(Head)


@dataclass(frozen=True)
class Kind:
    """What one of the classifiers looks at.

    Attributes:
        category: of everything it finds.
        buckets: number of its features.
        version: of its features, which the weights name.
        features: of a part of a text.
        parts: of a text; the nearest to unsafe counts.
    """

    category: str
    buckets: int
    version: str
    features: Callable[[str], features.Features]
    parts: Callable[[str], Sequence[str]]


KINDS: dict[Head, Kind] = {
    "harm": Kind(
        "harmful request",
        features.BUCKETS,
        features.VERSION,
        features.features,
        lambda text: (text,),
    ),
    "injection": Kind(
        "injection",
        order_features.BUCKETS,
        order_features.VERSION,
        order_features.order_features,
        order_features.order_parts,
    ),
}


class BuiltinGuard:
    """One linear classifier: p = sigmoid(w · x + b), distance 1 − p.

    It knows the wordings of its banks and what is like them; see the card beside the weights.

    Attributes:
        category: of everything it finds.
    """

    def __init__(
        self, weights: NDArray[np.float32], bias: float, kind: Kind, *, fingerprint: str
    ) -> None:
        if weights.shape != (kind.buckets,):
            raise ValueError(f"weights must have shape ({kind.buckets},). Got {weights.shape}.")
        if not (np.isfinite(weights).all() and math.isfinite(bias)):
            raise ValueError("weights and bias should be finite.")
        self.category = kind.category
        self._kind, self._weights, self._bias = kind, weights, bias
        self._fingerprint = fingerprint

    @classmethod
    def load(cls, head: Head, file: Path = WEIGHTS) -> Self:
        """One of the classifiers of a weights file.

        Raises:
            ModelLoadError: the file is missing, damaged, or made for other features.
        """
        try:
            with safe_open(file, framework="numpy") as opened:
                made_for = (opened.metadata() or {}).get(head)
                row = opened.get_tensor(head).astype(np.float32)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        except (OSError, SafetensorError) as error:
            raise ModelLoadError(
                f"Cannot read the classifier of words {file}: {error}",
                remedy="Install the package again, or run python -m training.words.",
            ) from error
        kind = KINDS[head]
        if made_for != kind.version:
            raise ModelLoadError(
                f"{head} in {file} was made for features of version {made_for}, "
                f"not {kind.version}.",
                remedy="Run python -m training.words again.",
            )
        try:
            return cls(row[:-1], float(row[-1]), kind, fingerprint=f"builtin:{head}:{digest}")
        except ValueError as error:
            raise ModelLoadError(f"{file} is damaged: {error}") from error

    @property
    def fingerprint(self) -> str:
        """Digest of the weights file."""
        return self._fingerprint

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        """Classify each text; one without words is unknown."""
        known: dict[str, float | None] = {}
        found = []
        for text in texts:
            distances = []
            for part in self._kind.parts(text):
                if part not in known:
                    known[part] = self._distance(part)
                distances.append(known[part])
            said = [distance for distance in distances if distance is not None]
            found.append(
                Assessment(self.category, min(said))
                if said
                else Assessment.of_unknown("The text has no words.")
            )
        return tuple(found)

    def _distance(self, part: str) -> float | None:
        buckets, values = self._kind.features(part)
        if not len(buckets):
            return None
        logit = float(self._weights[buckets] @ values) + self._bias
        return 1.0 / (1.0 + math.exp(min(logit, 700.0)))


def shipped_profile(head: Head) -> ThresholdProfile:
    """The threshold that ships for a classifier.

    Raises:
        ConfigError: the file cannot be read.
    """
    # `detection` loads torch, which a guard alone does not need.
    from guardalign_middleware.detection.profile import ThresholdProfile

    return ThresholdProfile.load(FOLDER / f"{head}.json")
