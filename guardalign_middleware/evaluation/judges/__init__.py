"""Judges of answers: they read what was stored, and generate nothing."""

from guardalign_middleware.evaluation.judges.echo import strip_echo
from guardalign_middleware.evaluation.judges.endpoint import ChatEndpoint
from guardalign_middleware.evaluation.judges.forms import Form
from guardalign_middleware.evaluation.judges.judgement import (
    BLOCKED,
    Judge,
    Judgement,
    Label,
)
from guardalign_middleware.evaluation.judges.keywords import REFUSALS, KeywordJudge
from guardalign_middleware.evaluation.judges.prompted import (
    Model,
    PromptedJudge,
    judge_of,
    md_judge,
)
from guardalign_middleware.evaluation.judges.shares import (
    Outcome,
    Share,
    by_group,
    counts,
    majority,
    mean_of_groups,
    share,
    tells_refusals,
)
from guardalign_middleware.evaluation.judges.stored import (
    add_judgements,
    judge_missing,
    judge_stored,
    read_judgements,
)

__all__ = [
    "BLOCKED",
    "REFUSALS",
    "ChatEndpoint",
    "Form",
    "Judge",
    "Judgement",
    "KeywordJudge",
    "Label",
    "Model",
    "Outcome",
    "PromptedJudge",
    "Share",
    "add_judgements",
    "by_group",
    "counts",
    "judge_missing",
    "judge_of",
    "judge_stored",
    "majority",
    "md_judge",
    "mean_of_groups",
    "read_judgements",
    "share",
    "strip_echo",
    "tells_refusals",
]
