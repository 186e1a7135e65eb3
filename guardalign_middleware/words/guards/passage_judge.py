"""Put a guard of texts to the lines of a picture, and to what the user says with them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from guardalign_middleware.cache import BoundedCache
from guardalign_middleware.types import Action
from guardalign_middleware.words import columns, disguised, letters, passages, plain
from guardalign_middleware.words.columns import Layout
from guardalign_middleware.words.guards.guard import Assessment, TextGuard, assessed
from guardalign_middleware.words.judge import Judgement
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.passages import Passage
from guardalign_middleware.words.source_digest import source_digest

if TYPE_CHECKING:  # `detection` loads torch, which judging words does not need
    from guardalign_middleware.detection.profile import ThresholdProfile


_SAID = 64
"""Texts of users whose assessment a judge keeps, by their digests."""


def guard_binding(guard: TextGuard) -> dict[str, str]:
    """What a threshold for a guard of texts is bound to."""
    return {"text_guard": guard.fingerprint}


# What the texts that a guard is asked about depend on.
_TEXTS = (columns, disguised, letters, passages, plain)


class PassageJudge:
    """Asks a guard about each passage, about all words as one text, and about them with the user's.

    The user's words count only together with the picture's: what is unsafe without the picture is
    no reason to hide the picture's words. A text of which the guard cannot say anything
    (`Assessment.unknown`) gets no judgement.

    Args:
        guard: is asked.
        threshold: distances at or below it are unsafe.
        action: what unsafe words cause.
        actions: category → another action for its words.
        with_user_text: whether to ask about the picture's words together with the user's. An order
            to a model is no attack if the user gives it.
    """

    def __init__(
        self,
        guard: TextGuard,
        threshold: float,
        *,
        action: Action = "mask",
        actions: Mapping[str, Action] | None = None,
        with_user_text: bool = True,
    ) -> None:
        if threshold != threshold:
            raise ValueError("threshold should be a number. Received NaN.")
        self.guard, self.threshold = guard, threshold
        self._action, self._actions = action, MappingProxyType(dict(actions or {}))
        self._with_user_text = with_user_text
        self._said: BoundedCache[Assessment] = BoundedCache(_SAID)

    @classmethod
    def fitted(
        cls,
        guard: TextGuard,
        profile: ThresholdProfile,
        *,
        action: Action = "mask",
        actions: Mapping[str, Action] | None = None,
        with_user_text: bool = True,
    ) -> Self:
        """With the threshold of a profile that `thresholds.fit_guards` fitted for this guard.

        Raises:
            ConfigError: the profile was fitted for another guard.
        """
        profile.check_binding(guard_binding(guard))
        return cls(
            guard,
            profile.threshold,
            action=action,
            actions=actions,
            with_user_text=with_user_text,
        )

    @property
    def fingerprint(self) -> str:
        """Digest of the guard, its threshold, the actions, and how lines become texts."""
        record = [
            self.guard.fingerprint,
            self.threshold,
            self._action,
            dict(self._actions),
            self._with_user_text,
        ]
        return source_digest(json.dumps(record, sort_keys=True), _TEXTS)

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        """Judge the lines of one picture; `text` is what the user says with it.

        Raises:
            GuardError: the guard failed.
        """
        if not lines:
            return ()
        layout = Layout.of(lines)
        asked = asked_about(lines, layout)
        said = text.strip() if self._with_user_text else ""
        known, new, more = None, [], []
        if said:
            # Said with every picture of a turn, and in every later call.
            key = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
            known = self._said.get(key)
            new = [said] if known is None else []
            more = [f"{said} {Passage.of(lines, order).text}" for order in layout.orders]
        texts = [one.text for one in asked]
        found = assessed(self.guard, [*texts, *more, *new])
        if new:
            known = found[-1]
            self._said.put(key, known)
        parts = len(layout.parts)
        judged = [
            self._judgement(one.lines, answer)
            for one, answer in zip(asked[:parts], found, strict=False)
            if not answer.unknown
        ]
        if any(one.hides for one in judged):
            # These lines alone are hidden; what is left is judged again when it was read again.
            return tuple(judged)
        joined = list(found[parts : len(texts)])
        if known is not None and known.distance > self.threshold:
            joined += found[len(texts) : len(texts) + len(more)]
        every = tuple(range(len(lines)))
        judged += [self._judgement(every, answer) for answer in joined if not answer.unknown]
        return tuple(judged)

    def _judgement(self, lines: tuple[int, ...], found: Assessment) -> Judgement:
        action = self._actions.get(found.category, self._action)
        return Judgement(lines, found.category, found.distance, self.threshold, action)


def asked_about(lines: Sequence[WordLine], layout: Layout) -> list[Passage]:
    """The parts of a layout, and last all lines in each of its orders, if no part is the same."""
    parts = layout.parts
    known = {one.lines for one in parts}
    return [*parts, *(Passage.of(lines, one) for one in layout.orders if one not in known)]


def picture_distance(guard: TextGuard, lines: Sequence[WordLine]) -> float:
    """The smallest distance of a picture's passages and of all its words; infinite if unknown.

    Raises:
        GuardError: the guard failed.
    """
    if not lines:
        return math.inf
    asked = asked_about(lines, Layout.of(lines))
    return min(one.distance for one in assessed(guard, [one.text for one in asked]))
