"""The judge of form: lists that ask to be filled, and instructions addressed to a model.

It needs no model and no threshold file, and knows nothing of topics.
"""

from __future__ import annotations

from collections.abc import Sequence

from guardalign_middleware.types import Action
from guardalign_middleware.words import (
    carrier_patterns,
    carriers,
    columns,
    disguised,
    injection,
    instruction_contents,
    instruction_patterns,
    instruction_rules,
    letters,
    passages,
    plain,
)
from guardalign_middleware.words.carriers import CARRIER, CARRIER_THRESHOLD, find_carriers
from guardalign_middleware.words.injection import (
    INJECTION,
    INJECTION_THRESHOLD,
    find_instructions,
)
from guardalign_middleware.words.judge import Judgement
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.source_digest import source_digest


class FormJudge:
    """Judges how words stand and whom they address; see `carriers` and `injection`.

    Args:
        carrier: what an empty list that asks to be filled causes; None = it is not looked for.
        injection: what an instruction addressed to a model causes; None = it is not looked for.
    """

    def __init__(
        self, *, carrier: Action | None = "mask", injection: Action | None = "mask"
    ) -> None:
        self._carrier, self._injection = carrier, injection

    @property
    def fingerprint(self) -> str:
        """Digest of the rules and the actions."""
        return source_digest(f"{self._carrier} {self._injection}", _RULES)

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        """Judge the lines of one picture; `text` is what the user says with it."""
        found = []
        if self._carrier is not None:
            found += [
                Judgement(one.lines, CARRIER, one.distance, CARRIER_THRESHOLD, self._carrier)
                for one in find_carriers(lines, text)
            ]
        if self._injection is not None:
            found += [
                Judgement(one.lines, INJECTION, one.distance, INJECTION_THRESHOLD, self._injection)
                for one in find_instructions(lines)
            ]
        return tuple(found)


_RULES = (
    carrier_patterns,
    carriers,
    columns,
    disguised,
    injection,
    instruction_contents,
    instruction_patterns,
    instruction_rules,
    letters,
    passages,
    plain,
)
