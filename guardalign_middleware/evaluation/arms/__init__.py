"""Arms: the model as it is, each part of the method alone, the whole, and two other defences."""

from guardalign_middleware.evaluation.arms.answer import Answered, Arm, Asked
from guardalign_middleware.evaluation.arms.build import ARMS, ArmSettings, arm_names, build_arm

__all__ = ["ARMS", "Answered", "Arm", "ArmSettings", "Asked", "arm_names", "build_arm"]
