"""The built-in guard of texts: small classifiers that ship."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.words.guards import features, order_features
from guardalign_middleware.words.guards.guard import Assessment
from guardalign_middleware.words.guards.order_network import OrderNetwork, shared_network
from guardalign_middleware.words.guards.order_words import ORDER_WORDS
from guardalign_middleware.words.guards.word_gaps import VERSION, WordGaps

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
        reads: whether a network is asked as well.
    """

    category: str
    buckets: int
    version: str
    features: Callable[[str], features.Features]
    parts: Callable[[str], Sequence[str]]
    reads: bool = False


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
        reads=True,
    ),
}
# A text of which the linear classifier says less is no order: so it says of 1% of the orders in
# wordings that it has not seen, and of seven in eight sentences about software.
_RULED_OUT = -2.5
_LEAST = -5.0
"""What the network would say of these, or less."""


class BuiltinGuard:
    """A linear classifier, and a network for what it does not rule out.

    p = sigmoid(w · x + b + n), distance 1 − p, where n is the network's logit.

    Where a network is asked, texts whose words have lost their gaps, or have gaps in them, are
    judged as they should stand as well, and the nearest to unsafe counts.

    It knows the wordings of its banks and what is like them; see the card beside the weights.

    Attributes:
        category: of everything it finds.
    """

    def __init__(
        self,
        weights: NDArray[np.float32],
        bias: float,
        kind: Kind,
        *,
        network: OrderNetwork | None = None,
        fingerprint: str,
    ) -> None:
        if weights.shape != (kind.buckets,):
            raise ValueError(f"weights must have shape ({kind.buckets},). Got {weights.shape}.")
        if not (np.isfinite(weights).all() and math.isfinite(bias)):
            raise ValueError("weights and bias should be finite.")
        self.category = kind.category
        self._kind, self._weights, self._bias, self._network = kind, weights, bias, network
        self._fingerprint = fingerprint
        self._gaps = None if network is None else WordGaps([*network.words, *sorted(ORDER_WORDS)])

    @classmethod
    def load(cls, head: Head, file: Path = WEIGHTS) -> Self:
        """One of the classifiers of a weights file, and of the network beside it.

        Raises:
            ConfigError: the extra `words` is not installed.
            ModelLoadError: a file is missing, damaged, or made for other features.
        """
        try:
            with safe_open(file, framework="numpy") as opened:
                made_for = (opened.metadata() or {}).get(head)
                row = opened.get_tensor(head).astype(np.float32)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        except (OSError, SafetensorError) as error:
            raise ModelLoadError(
                f"Cannot read the classifier of words {file}: {error}",
                remedy="Install the package again, or run make train-words.",
            ) from error
        kind = KINDS[head]
        if made_for != kind.version:
            raise ModelLoadError(
                f"{head} in {file} was made for features of version {made_for}, "
                f"not {kind.version}.",
                remedy="Run make train-words.",
            )
        network = shared_network(file.parent) if kind.reads else None
        if network is not None:
            digest = hashlib.sha256(f"{digest}{network.fingerprint}{VERSION}".encode()).hexdigest()
        fingerprint = f"builtin:{head}:{digest}"
        try:
            return cls(row[:-1], float(row[-1]), kind, network=network, fingerprint=fingerprint)
        except ValueError as error:
            raise ModelLoadError(f"{file} is damaged: {error}") from error

    @property
    def fingerprint(self) -> str:
        """Digest of the files it was loaded from."""
        return self._fingerprint

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        """Classify each text; one without words is unknown.

        Raises:
            ValueError: the network gave NaN or infinity.
        """
        parts = [self._parts(text) for text in texts]
        logits = self._logits(dict.fromkeys(part for some in parts for part in some))
        found = []
        for some in parts:
            said = [logits[part] for part in some if part in logits]
            found.append(
                Assessment(self.category, _distance(max(said)))
                if said
                else Assessment.of_unknown("The text has no words.")
            )
        return tuple(found)

    def _parts(self, text: str) -> Sequence[str]:
        """The parts of a text as it was read, and as its words say that it was written."""
        mended = text if self._gaps is None else self._gaps.mended(text)
        parts = self._kind.parts(text)
        return parts if mended == text else (*parts, *self._kind.parts(mended))

    def _logits(self, parts: Iterable[str]) -> dict[str, float]:
        """How unsafe each part is; those without words are left out."""
        found = {}
        for part in parts:
            buckets, values = self._kind.features(part)
            if len(buckets):
                found[part] = float(self._weights[buckets] @ values) + self._bias
        if self._network is None:
            return found
        asked = [part for part, logit in found.items() if logit > _RULED_OUT]
        read = dict(zip(asked, self._network.logits(asked).tolist(), strict=True))
        return {part: logit + read.get(part, _LEAST) for part, logit in found.items()}


def _distance(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(min(logit, 700.0)))


def shipped_profile(head: Head) -> ThresholdProfile:
    """The threshold that ships for a classifier.

    Raises:
        ConfigError: the file cannot be read.
    """
    # `detection` loads torch, which a guard alone does not need.
    from guardalign_middleware.detection.profile import ThresholdProfile

    return ThresholdProfile.load(FOLDER / f"{head}.json")
