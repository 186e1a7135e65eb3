"""Attacks on the detector: ways to change an unsafe image until it passes."""

from guardalign_middleware.evaluation.attacks.pictures import ATTACKS, FAMILIES
from guardalign_middleware.evaluation.attacks.report import AttackReport, run_attacks
from guardalign_middleware.evaluation.attacks.target import Attack, Target

__all__ = ["ATTACKS", "FAMILIES", "Attack", "AttackReport", "Target", "run_attacks"]
