"""Arms: the model as it is, each part of the method alone, the whole, and two other defences.

`build` makes them; it is imported on use, since it needs torch.
"""

from guardalign_middleware.evaluation.arms.answer import Answered, Arm, Asked
from guardalign_middleware.evaluation.arms.names import ARMS, arm_names, in_order

__all__ = ["ARMS", "Answered", "Arm", "Asked", "arm_names", "in_order"]
