"""What follows from the words of a picture: a verdict with them in it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.config import DetectionConfig, WordsConfig
from guardalign_middleware.detection.scan_queue import ScanQueue
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.faults import typed_faults
from guardalign_middleware.types import (
    SEVERITY,
    WOULD_BE,
    Action,
    Box,
    CanonicalImage,
    Region,
    Verdict,
    WordsRead,
)
from guardalign_middleware.words.joined import judge_turn
from guardalign_middleware.words.judge import STAGE, Judgement, LineJudge
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.reader import RapidReader, WordReader
from guardalign_middleware.words.remembered import RememberingJudge

CATEGORY = "words"
"""Of all words, where all are hidden."""

_ACTIONS: tuple[Action, ...] = ("flag", "mask", "block")
# A turned line is covered in pieces where one box would be this much larger than the line.
_ROOMY = 1.6
_READING_BYTES = 512


class HideAll:
    """Finds every line unsafe, also those that cannot be read."""

    fingerprint = "hide all"

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        """One judgement on all lines; none without lines."""
        if not lines:
            return ()
        return (Judgement(tuple(range(len(lines))), CATEGORY, 0.0, 0.0),)


class WordPolicy:
    """Reads pictures, each once, and says what follows from their words; threads may share it.

    Args:
        config: the mode, and whether verdicts quote.
        reader: reads.
        judge: says which lines are unsafe; None finds none.
        kept: as the detector keeps its verdicts, readings are kept.

    Attributes:
        config: as given.
        reader: as given.
        judge: what remembers its judgements; None as given.
    """

    def __init__(
        self,
        config: WordsConfig,
        reader: WordReader,
        judge: LineJudge | None,
        kept: DetectionConfig,
    ) -> None:
        self.config = config
        self.reader = reader
        self.judge = judge if judge is None else RememberingJudge(judge, kept)
        self._readings: BoundedCache[tuple[WordLine, ...]] = BoundedCache(
            kept.remembered_verdicts,
            kept.remembered_bytes,
            lambda lines: _READING_BYTES + sum(line.nbytes for line in lines),
        )

    @classmethod
    def load(
        cls, config: WordsConfig, kept: DetectionConfig, judge: LineJudge | None = None
    ) -> Self:
        """Load the reader, for a mode other than `off`.

        Args:
            config: of the words.
            kept: as for the class.
            judge: for the mode `guard`, and no other.

        Raises:
            ConfigError: the extra `words` is not installed, the mode `guard` has no judge, or
                another mode has one.
            ModelLoadError: a network cannot be loaded.
        """
        if config.mode == "guard" and judge is None:
            raise ConfigError(
                "The mode words: guard has no guard of texts.",
                remedy="Configure one, or set words.mode to mask or report.",
            )
        if config.mode != "guard" and judge is not None:
            raise ConfigError(
                f"The mode words: {config.mode} asks no guard of texts, and one was given.",
                remedy="Set words.mode to guard, or leave it out.",
            )
        asked: LineJudge | None = {"guard": judge, "mask": HideAll()}.get(config.mode)
        return cls(config, RapidReader.load(config.max_pixels), asked, kept)

    @property
    def fingerprint(self) -> str:
        """Differs for policies whose reader or judge may answer differently."""
        return f"{self.reader.fingerprint}\n{'' if self.judge is None else self.judge.fingerprint}"

    def read(self, image: CanonicalImage, queue: ScanQueue) -> tuple[WordLine, ...]:
        """The lines of a picture, read in a turn of the queue or remembered.

        Raises:
            GuardError: stage `words`; the reader failed.
        """

        def read(images: list[CanonicalImage]) -> list[tuple[WordLine, ...]]:
            with typed_faults(STAGE):
                return [self.reader.read(each) for each in images]

        return queue.get_many({image.sha256: image}, read, self._readings)[image.sha256]

    def verdict(self, image: CanonicalImage, verdict: Verdict, queue: ScanQueue) -> Verdict:
        """The detector's verdict with the words of the picture in it.

        Args:
            image: the picture.
            verdict: of the detector.
            queue: whose turn it is to scan.

        Raises:
            GuardError: stage `words`; the reader or a guard of texts failed.
        """
        lines = self.read(image, queue)
        asked = lines if self.config.mode == "mask" else _readable(lines)
        judgements: tuple[Judgement, ...] = ()
        with typed_faults(STAGE):
            if self.judge is not None:
                judgements = self.judge.judge(asked)
            regions = _regions(image, asked, judgements)
        return with_words(replace(verdict, words=self._record(lines)), regions)

    def together(
        self, images: Sequence[CanonicalImage], text: str, queue: ScanQueue
    ) -> list[tuple[Region, ...]]:
        """What is unsafe in each image of a turn, when all are read with the text as one.

        That is what has to be hidden and what is only flagged; nothing, where there is no judge of
        words.

        Args:
            images: of the turn, in order.
            text: what the user says with them.
            queue: whose turn it is to scan.

        Raises:
            GuardError: stage `words`; the reader or a guard of texts failed.
        """
        if self.judge is None or self.config.mode != "guard":
            return [()] * len(images)
        readable = [_readable(self.read(each, queue)) for each in images]
        with typed_faults(STAGE):
            judged = judge_turn(self.judge, readable, text)
            return [tuple(_regions(*each)) for each in zip(images, readable, judged, strict=True)]

    def _record(self, lines: Sequence[WordLine]) -> WordsRead:
        said = tuple(line.text for line in _readable(lines))
        whole = "\n".join(said)
        return WordsRead(
            lines=len(said),
            characters=sum(map(len, said)),
            unread=len(lines) - len(said),
            sha256=hashlib.sha256(whole.encode()).hexdigest(),
            reader=self.reader.fingerprint,
            text=said if self.config.include_text else None,
        )


def _readable(lines: Sequence[WordLine]) -> tuple[WordLine, ...]:
    return tuple(line for line in lines if line.text)


def covers(line: WordLine, width: int, height: int) -> tuple[Box, ...]:
    """Boxes that together cover a line of a `width` × `height` picture.

    One for an upright line; several along a turned one, whose own box would cover far more.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = line.corners
    along, across = math.hypot(x1 - x0, y1 - y0), math.hypot(x3 - x0, y3 - y0)
    box = line.box
    room = (box[2] - box[0]) * (box[3] - box[1])
    pieces = math.ceil(max(along, across) / max(min(along, across), 1.0))
    if pieces == 1 or room <= _ROOMY * along * across:
        return (box,)
    if across > along:
        # Pieces follow the longer side, whichever way the line is read.
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (x1, y1), (x2, y2), (x3, y3), (x0, y0)
    found = []
    for piece in range(pieces):
        shares = piece / pieces, (piece + 1) / pieces
        points = [(x0 + share * (x1 - x0), y0 + share * (y1 - y0)) for share in shares]
        points += [(x3 + share * (x2 - x3), y3 + share * (y2 - y3)) for share in shares]
        xs, ys = zip(*points, strict=True)
        left, top = (max(math.floor(min(xs)), 0), max(math.floor(min(ys)), 0))
        right, bottom = (min(math.ceil(max(xs)), width), min(math.ceil(max(ys)), height))
        if left < right and top < bottom:
            found.append((left, top, right, bottom))
    return tuple(found)


def _worst_by_line(judgements: Sequence[Judgement], count: int) -> dict[int, Judgement]:
    """For each line that is unsafe, the judgement with the gravest action, and the nearest."""
    worst: dict[int, Judgement] = {}
    for judgement in judgements:
        if max(judgement.lines) >= count:
            raise ValueError(f"A judgement is about line {max(judgement.lines)} of {count}.")
        if not judgement.unsafe:
            continue
        for line in judgement.lines:
            if line not in worst or _gravity(judgement) > _gravity(worst[line]):
                worst[line] = judgement
    return worst


def _gravity(judgement: Judgement) -> tuple[int, float]:
    return _ACTIONS.index(judgement.action), -judgement.distance


def _regions(
    image: CanonicalImage, lines: Sequence[WordLine], judgements: Sequence[Judgement]
) -> list[Region]:
    return [
        Region(box, each.category, each.distance, 0.0, each.action, "words")
        for index, each in _worst_by_line(judgements, len(lines)).items()
        for box in covers(lines[index], image.width, image.height)
    ]


def with_words(verdict: Verdict, regions: Sequence[Region]) -> Verdict:
    """The verdict with regions of words; the graver decision counts.

    What is only flagged and was found before, by the picture alone, is not there twice.
    """
    known = {(one.box, one.category) for one in verdict.regions if one.kind == "words"}
    regions = [
        one for one in regions if one.action != "flag" or (one.box, one.category) not in known
    ]
    gravest = max(regions, key=lambda region: _ACTIONS.index(region.action), default=None)
    decision, would_be, category = verdict.decision, verdict.would_be, verdict.category
    if gravest is not None and gravest.action != "flag":
        if would_be is None:
            decision = max(decision, gravest.action, key=SEVERITY.index)
        else:
            would_be = max(would_be, gravest.action, key=WOULD_BE.index)
        if not verdict.flagged:
            category = gravest.category
    every = (*verdict.regions, *regions)
    return replace(verdict, decision=decision, would_be=would_be, category=category, regions=every)
