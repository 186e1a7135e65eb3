"""The built-in guard of texts: linear classifiers on hashed n-grams, which ship."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.words.guards.features import BUCKETS, VERSION, features
from guardalign_middleware.words.guards.guard import Assessment

if TYPE_CHECKING:
    from guardalign_middleware.detection.profile import ThresholdProfile

FOLDER = Path(__file__).parent / "shipped"
"""Weights, thresholds and the card of the classifiers that ship."""
WEIGHTS = FOLDER / "weights.safetensors"
Head = Literal["harm", "injection"]
HEADS: tuple[Head, ...] = get_args(Head)
CATEGORIES: dict[Head, str] = {"harm": "harmful request", "injection": "injection"}


class BuiltinGuard:
    """One linear classifier: p = sigmoid(w · x + b), distance 1 − p.

    It knows the wordings of its templates and their letters; see the card beside the weights.

    Attributes:
        category: of everything it finds.
    """

    def __init__(
        self, weights: NDArray[np.float32], bias: float, category: str, *, fingerprint: str
    ) -> None:
        if weights.shape != (BUCKETS,):
            raise ValueError(f"weights must have shape ({BUCKETS},). Got {weights.shape}.")
        if not (np.isfinite(weights).all() and math.isfinite(bias)):
            raise ValueError("weights and bias should be finite.")
        self.category = category
        self._weights, self._bias, self._fingerprint = weights, bias, fingerprint

    @classmethod
    def load(cls, head: Head, file: Path = WEIGHTS) -> Self:
        """One of the classifiers of a weights file.

        Raises:
            ModelLoadError: the file is missing, damaged, or made for other features.
        """
        try:
            with safe_open(file, framework="numpy") as opened:
                made_for = (opened.metadata() or {}).get("features")
                row = opened.get_tensor(head).astype(np.float32)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        except (OSError, SafetensorError) as error:
            raise ModelLoadError(
                f"Cannot read the classifier of words {file}: {error}",
                remedy="Install the package again, or run python -m training.words.",
            ) from error
        if made_for != VERSION:
            raise ModelLoadError(
                f"{file} was made for features of version {made_for}, not {VERSION}.",
                remedy="Run python -m training.words again.",
            )
        try:
            return cls(
                row[:-1], float(row[-1]), CATEGORIES[head], fingerprint=f"builtin:{head}:{digest}"
            )
        except ValueError as error:
            raise ModelLoadError(f"{file} is damaged: {error}") from error

    @property
    def fingerprint(self) -> str:
        """Digest of the weights file."""
        return self._fingerprint

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        """Classify each text; one without words is unknown."""
        found = []
        for text in texts:
            buckets, values = features(text)
            if not len(buckets):
                found.append(Assessment.of_unknown("The text has no words."))
                continue
            logit = float(self._weights[buckets] @ values) + self._bias
            found.append(Assessment(self.category, 1.0 / (1.0 + math.exp(min(logit, 700.0)))))
        return tuple(found)


def shipped_profile(head: Head) -> ThresholdProfile:
    """The threshold that ships for a classifier.

    Raises:
        ConfigError: the file cannot be read.
    """
    # `detection` loads torch, which a guard alone does not need.
    from guardalign_middleware.detection.profile import ThresholdProfile

    return ThresholdProfile.load(FOLDER / f"{head}.json")
