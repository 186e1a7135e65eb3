"""Experiments: answers of several arms to one suite, stored as they come, and judged later."""

from guardalign_middleware.evaluation.experiment.folder import RunFolder
from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.experiment.running import Failure, run_arms

__all__ = ["Experiment", "Failure", "RunFolder", "run_arms"]
