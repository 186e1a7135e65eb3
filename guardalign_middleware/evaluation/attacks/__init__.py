"""Attacks on the detector: ways to change an unsafe image until it passes."""

from guardalign_middleware.evaluation.attacks.pictures import ATTACKS, Target
from guardalign_middleware.evaluation.attacks.report import AttackReport, run_attacks

__all__ = ["ATTACKS", "AttackReport", "Target", "run_attacks"]
