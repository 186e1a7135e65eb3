"""The paper's own detection in text space: words as patches, transported to the same concepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from torch import Tensor

from guardalign_middleware.detection.meter import Meter
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.words.guards.guard import Assessment


class _ReadsTexts(Protocol):
    """What an encoder needs for texts that are no concepts."""

    fingerprint: str

    def readable(self, text: str) -> tuple[str, ...]: ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor: ...


class ConceptGuard:
    """Embeds texts with the encoder's text tower and measures them as a meter measures crops.

    The texts of one call are the patches of one transport problem (paper eqs. 6-9), so each one's
    distance depends a little on the others. Texts are nearer to concepts than crops are: the
    threshold for crops does not hold, and has to be fitted for texts (`thresholds.fit_guards`).

    A text of which the encoder knows no word is unknown: a small vocabulary, as the miniature
    encoder has, would turn it into confident nonsense. Of other texts only known words count.

    Args:
        meter: of a detector, with its encoder, anchors and transport.

    Raises:
        ConfigError: the encoder cannot say which words it knows.
    """

    def __init__(self, meter: Meter) -> None:
        encoder = meter.encoder
        if not hasattr(encoder, "readable"):
            raise ConfigError(
                "The encoder cannot say which words it knows, so it cannot guard texts.",
                remedy="Use OpenClipEncoder, or give the encoder a method `readable`.",
            )
        self._encoder = cast("_ReadsTexts", encoder)
        self._meter = meter

    @property
    def fingerprint(self) -> str:
        """Digest of encoder, anchors and transport."""
        binding = self._meter.binding
        return "concepts:" + ":".join(binding[part] for part in ("encoder", "anchors", "transport"))

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        """Measure texts; a long one is cut into pieces, of which the nearest counts.

        Raises:
            DetectionError: the encoder or the transport gave no trustworthy number.
        """
        pieces = [self._encoder.readable(text) for text in texts]
        flat = [piece for own in pieces for piece in own]
        if flat:
            distances, categories = self._meter.measure_rows(self._encoder.encode_texts(flat))
        found, first = [], 0
        for own in pieces:
            if not own:
                found.append(Assessment.of_unknown("The encoder knows none of the words."))
                continue
            best = first + int(distances[first : first + len(own)].argmin())
            found.append(Assessment(categories[best], float(distances[best])))
            first += len(own)
        return tuple(found)
