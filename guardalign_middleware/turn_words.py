"""The words of a turn's pictures, judged once more as one, for a guard that scans or cleans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import GuardError
from guardalign_middleware.faults import typed_faults
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.turns import Turn, clean_together, in_turns, shown
from guardalign_middleware.types import CanonicalImage, Verdict
from guardalign_middleware.unscanned import fails_open, passed_by_itself, unjudged, unscanned

if TYPE_CHECKING:
    from guardalign_middleware.detection import Detector
    from guardalign_middleware.words.policy import WordPolicy

_Scanned = tuple[CanonicalImage, Verdict]


@dataclass(frozen=True)
class TurnWords:
    """Judges the pictures of a turn that passed by themselves.

    Attributes:
        words: reads and judges.
        config: how unsafe regions are hidden, and what a fault causes.
        detector: has the queue, and the thresholds for what could not be judged.
        rescan: scans a masked copy by itself.
        failed_open: called with the number of images let through after a fault, and the fault.
    """

    words: WordPolicy
    config: GuardAlignConfig
    detector: Detector
    rescan: Callable[[CanonicalImage], Verdict]
    failed_open: Callable[[int, GuardError], None]

    def clean(self, items: list[SanitizedImage], text: str) -> list[SanitizedImage]:
        """The pictures of a turn, with what only the whole turn shows to be unsafe hidden.

        Args:
            items: all of them, each cleaned by itself.
            text: what is said with them.

        Raises:
            GuardError: a scan, the reader or a guard of texts failed.
        """
        if self.detector.profile is None:  # a guard that observes cleans nothing without thresholds
            judged = self._scan_turn([(item.original, item.verdict) for item in items], text)
            return [
                replace(item, verdict=verdict)
                for item, (_, verdict) in zip(items, judged, strict=True)
            ]
        images = shown(items)
        if not Turn(text, len(images)).together:
            return items
        find = partial(self.words.together, text=text, queue=self.detector.queue)
        try:
            found = find(images)
        except GuardError as error:
            if not fails_open(self.config, error):
                raise
            self.failed_open(sum(map(passed_by_itself, items)), error)
            return [unjudged(item, self.detector, error) for item in items]
        with typed_faults("sanitize"):
            return clean_together(items, found, find, self.rescan, self.config.sanitize)

    def scan(
        self, images: Sequence[CanonicalImage], verdicts: Sequence[Verdict], turns: Sequence[Turn]
    ) -> list[Verdict]:
        """The verdicts with what only a whole turn shows to be unsafe.

        Args:
            images: of all turns.
            verdicts: on each of them by itself.
            turns: that they belong to.

        Raises:
            ValueError: the turns have more or fewer images than there are.
            GuardError: the reader or a guard of texts failed.
        """
        scanned = list(zip(images, verdicts, strict=True))
        return [verdict for _, verdict in in_turns(scanned, turns, self._scan_turn)]

    def _scan_turn(self, scanned: list[_Scanned], text: str) -> list[_Scanned]:
        from guardalign_middleware.words.policy import with_words

        passed = [
            index
            for index, (_, verdict) in enumerate(scanned)
            if (verdict.decision == "allow" or verdict.would_be == "undecided")
            and verdict.fault is None
        ]
        if not Turn(text, len(passed)).together:
            return scanned
        judged = list(scanned)
        images = [scanned[index][0] for index in passed]
        try:
            found = self.words.together(images, text, self.detector.queue)
        except GuardError as error:
            if not fails_open(self.config, error):
                raise
            self.failed_open(len(passed), error)
            for index, image in zip(passed, images, strict=True):
                judged[index] = image, unscanned(image, self.detector, error)
            return judged
        for index, regions in zip(passed, found, strict=True):
            image, verdict = scanned[index]
            judged[index] = image, with_words(verdict, regions)
        return judged
