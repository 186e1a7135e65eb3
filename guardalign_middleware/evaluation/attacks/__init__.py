"""What somebody could do to an image so that the detector does not find what is in it."""

from guardalign_middleware.evaluation.attacks.pictures import ATTACKS, Target
from guardalign_middleware.evaluation.attacks.report import AttackReport, run_attacks

__all__ = ["ATTACKS", "AttackReport", "Target", "run_attacks"]
