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
from guardalign_middleware.words.guards.guard import Assessment, TextGuard, assessed
from guardalign_middleware.words.judge import Judgement
from guardalign_middleware.words.line import WordLine
from guardalign_middleware.words.passages import Passage, passages

if TYPE_CHECKING:  # `detection` loads torch, which judging words does not need
    from guardalign_middleware.detection.profile import ThresholdProfile


_SAID = 64
"""Texts of users whose assessment a judge keeps, by their digests."""


def guard_binding(guard: TextGuard) -> dict[str, str]:
    """What a threshold for a guard of texts is bound to."""
    return {"text_guard": guard.fingerprint}


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
        """Digest of the guard, its threshold and the actions."""
        record = [
            self.guard.fingerprint,
            self.threshold,
            self._action,
            dict(self._actions),
            self._with_user_text,
        ]
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    def judge(self, lines: Sequence[WordLine], text: str = "") -> tuple[Judgement, ...]:
        """Judge the lines of one picture; `text` is what the user says with it.

        Raises:
            GuardError: the guard failed.
        """
        if not lines:
            return ()
        together = passages(lines)
        texts = asked_about(lines, together)
        said = text.strip() if self._with_user_text else ""
        key = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
        # Said with every picture of a turn, and in every later call.
        known = self._said.get(key) if said else None
        more = [said] * (said != "" and known is None) + [f"{said} {texts[-1]}"] * (said != "")
        found = assessed(self.guard, [*texts, *more])
        if said and known is None:
            known = found[-2]
            self._said.put(key, known)
        judged = [
            self._judgement(passage.lines, one)
            for passage, one in zip(together, found, strict=False)
            if not one.unknown
        ]
        if any(one.hides for one in judged):
            # These lines alone are hidden; what is left is judged again when it was read again.
            return tuple(judged)
        every = tuple(range(len(lines)))
        if len(together) > 1 and not found[len(together)].unknown:
            judged.append(self._judgement(every, found[len(together)]))
        if known is not None and known.distance > self.threshold and not found[-1].unknown:
            judged.append(self._judgement(every, found[-1]))
        return tuple(judged)

    def _judgement(self, lines: tuple[int, ...], found: Assessment) -> Judgement:
        action = self._actions.get(found.category, self._action)
        return Judgement(lines, found.category, found.distance, self.threshold, action)


def asked_about(lines: Sequence[WordLine], together: Sequence[Passage]) -> list[str]:
    """The text of each passage, and last that of the whole picture, if it has several."""
    texts = [passage.text for passage in together]
    return texts if len(texts) == 1 else [*texts, " ".join(line.text for line in lines)]


def picture_distance(guard: TextGuard, lines: Sequence[WordLine]) -> float:
    """The smallest distance of a picture's passages and of all its words; infinite if unknown.

    Raises:
        GuardError: the guard failed.
    """
    if not lines:
        return math.inf
    texts = asked_about(lines, passages(lines))
    return min(one.distance for one in assessed(guard, texts))
