"""Judges of answers: they read what was stored, and generate nothing."""

from guardalign_middleware.evaluation.judges.echo import strip_echo
from guardalign_middleware.evaluation.judges.endpoint import ChatEndpoint
from guardalign_middleware.evaluation.judges.forms import Form
from guardalign_middleware.evaluation.judges.judgement import Judge, Judgement, Label
from guardalign_middleware.evaluation.judges.keywords import REFUSALS, KeywordJudge
from guardalign_middleware.evaluation.judges.prompted import (
    Model,
    PromptedJudge,
    judge_of,
    md_judge,
)
from guardalign_middleware.evaluation.judges.shares import (
    SafetyFigure,
    Share,
    by_group,
    majority,
    mean_of_groups,
    share,
)
from guardalign_middleware.evaluation.judges.stored import (
    judge_stored,
    read_answers,
    write_answers,
)

__all__ = [
    "REFUSALS",
    "ChatEndpoint",
    "Form",
    "Judge",
    "Judgement",
    "KeywordJudge",
    "Label",
    "Model",
    "PromptedJudge",
    "SafetyFigure",
    "Share",
    "by_group",
    "judge_of",
    "judge_stored",
    "majority",
    "md_judge",
    "mean_of_groups",
    "read_answers",
    "share",
    "strip_echo",
    "write_answers",
]
