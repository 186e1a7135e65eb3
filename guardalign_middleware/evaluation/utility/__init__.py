"""Utility by the rules of the benchmarks' authors, quirks included.

Every function takes the items of a suite and the answers by id, and gives figures with intervals.
An answer that is missing is an error: a part of a suite is not the suite.
"""

from guardalign_middleware.evaluation.utility.choices import (
    letter_accuracy,
    mmbench,
    read_option,
)
from guardalign_middleware.evaluation.utility.mme import MMEScore, mme, read_yes_no
from guardalign_middleware.evaluation.utility.score import UtilityScore, utility
from guardalign_middleware.evaluation.utility.short_answers import (
    exact_accuracy,
    normalised,
    vqa_accuracy,
)

__all__ = [
    "MMEScore",
    "UtilityScore",
    "exact_accuracy",
    "letter_accuracy",
    "mmbench",
    "mme",
    "normalised",
    "read_option",
    "read_yes_no",
    "utility",
    "vqa_accuracy",
]
