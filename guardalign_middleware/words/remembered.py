"""A judge that is asked once about the same words; its answers are remembered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.config import DetectionConfig
from guardalign_middleware.words.judge import Judgement, LineJudge
from guardalign_middleware.words.line import WordLine

_JUDGEMENT_BYTES = 256


class RememberingJudge:
    """Asks a judge, and gives its answer again when the same is asked; threads may share it.

    A history holds its pictures in every call, and a judge may be a service elsewhere.

    Args:
        judge: is asked.
        kept: as the detector keeps its verdicts, answers are kept.
    """

    def __init__(self, judge: LineJudge, kept: DetectionConfig) -> None:
        self._judge = judge
        self._answers: BoundedCache[tuple[Judgement, ...]] = BoundedCache(
            kept.remembered_verdicts,
            kept.remembered_bytes,
            lambda found: _JUDGEMENT_BYTES * (1 + len(found)),
        )

    @property
    def fingerprint(self) -> str:
        """That of the judge."""
        return self._judge.fingerprint

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        """Judge the lines of one picture; errors are not remembered.

        Raises:
            GuardError: a guard of texts failed.
        """
        key = _key(lines, text)
        found = self._answers.get(key)
        if found is None:
            # Not waited for where another thread asks the same: waiting is done in the queue only.
            found = self._judge.judge(lines, text)
            self._answers.put(key, found)
        return found


def _key(lines: Sequence[WordLine], text: str) -> str:
    # Spelled out, so that what a line says cannot be taken for the text or for another line.
    spelled = repr([text, *lines])
    return hashlib.sha256(spelled.encode("utf-8", "surrogatepass")).hexdigest()
