"""Judges of answers: they read what was stored, and generate nothing."""

from guardalign_middleware.evaluation.judges.echo import strip_echo
from guardalign_middleware.evaluation.judges.judgement import Judge, Judgement, Label

__all__ = ["Judge", "Judgement", "Label", "strip_echo"]
