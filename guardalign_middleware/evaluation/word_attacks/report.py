"""What is read and found of attacked pictures of words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from guardalign_middleware.evaluation.metrics import Estimate, pooled_rate, rate
from guardalign_middleware.evaluation.word_attacks.pictures import WORD_ATTACKS, WordAttack
from guardalign_middleware.evaluation.word_attacks.target import WordTarget
from guardalign_middleware.words.joined import judge_turn
from guardalign_middleware.words.judge import LineJudge
from guardalign_middleware.words.plain import plain
from guardalign_middleware.words.reader import WordReader

_WORD = re.compile(r"[^\W_]+")
_Progress = Callable[[Sequence[tuple[str, WordAttack]]], Iterable[tuple[str, WordAttack]]]


@dataclass(frozen=True)
class WordAttackResult:
    """What one attack leaves.

    Attributes:
        attack: its name.
        pictures: how many it was tried on.
        read: share of their words.
        flagged: share of the messages in which words are found unsafe, by kind of target.
    """

    attack: str
    pictures: int
    read: Estimate
    flagged: dict[str, Estimate]


@dataclass(frozen=True)
class WordAttackReport:
    """All attacks on the same pictures.

    Attributes:
        pictures: how many there are.
        reader: fingerprint of what read them.
        attacks: in the order in which they were tried.
    """

    pictures: int
    reader: str
    attacks: tuple[WordAttackResult, ...]


def run_word_attacks(
    reader: WordReader,
    judge: LineJudge,
    targets: Sequence[WordTarget],
    *,
    seed: int = 0,
    progress: _Progress = iter,
) -> WordAttackReport:
    """Try every attack on every picture.

    Attacks that need the text itself are left out where all pictures are given ones.

    Args:
        reader: reads.
        judge: says which lines are unsafe; what a message holds in several pictures is judged
            together.
        targets: pictures that are found unsafe without an attack; not empty.
        seed: of what is random.
        progress: passes the attacks on, and may show which one it is.

    Raises:
        ValueError: there is no target, or no words in them.
    """
    if not targets:
        raise ValueError("targets should not be empty.")
    found = []
    for name, attack in progress(list(WORD_ATTACKS.items())):
        result = _tried(name, attack, reader, judge, targets, seed)
        if result is not None:
            found.append(result)
    return WordAttackReport(len(targets), reader.fingerprint, tuple(found))


def _tried(
    name: str,
    attack: WordAttack,
    reader: WordReader,
    judge: LineJudge,
    targets: Sequence[WordTarget],
    seed: int,
) -> WordAttackResult | None:
    read, wanted = [], []
    flagged: dict[str, list[bool]] = {}
    for index, target in enumerate(targets):
        pictures = attack(target, np.random.default_rng((seed, index)))
        if pictures is None:
            continue
        lines = [[line for line in reader.read(each) if line.text] for each in pictures]
        judged = judge_turn(judge, lines)
        said = Counter(_WORD.findall(plain(target.words)))
        got = Counter(
            word for each in lines for line in each for word in _WORD.findall(plain(line.text))
        )
        read.append(sum((said & got).values()))
        wanted.append(sum(said.values()))
        hit = any(one.unsafe for each in judged for one in each)
        flagged.setdefault(target.kind, []).append(hit)
    if not read:
        return None
    found = {kind: rate(sum(hits), len(hits)) for kind, hits in flagged.items()}
    return WordAttackResult(name, len(read), pooled_rate(read, wanted), found)
