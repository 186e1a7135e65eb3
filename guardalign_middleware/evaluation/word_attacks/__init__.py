"""Ways to hide words of a picture from the reader, and what is still read and found."""

from guardalign_middleware.evaluation.word_attacks.pictures import WORD_ATTACKS
from guardalign_middleware.evaluation.word_attacks.report import (
    WordAttackReport,
    run_word_attacks,
)
from guardalign_middleware.evaluation.word_attacks.target import (
    WordTarget,
    drawn_targets,
    target_of,
)

__all__ = [
    "WORD_ATTACKS",
    "WordAttackReport",
    "WordTarget",
    "drawn_targets",
    "run_word_attacks",
    "target_of",
]
