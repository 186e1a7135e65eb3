"""Answering under the safety prefix: prompt, spans, calibrated attention, runner."""

from guardalign_middleware.generation.loading import LoadedModel, load_model
from guardalign_middleware.generation.runner import CalibratedRunner
from guardalign_middleware.generation.stream import Emit, Runner, TokenStream

__all__ = ["CalibratedRunner", "Emit", "LoadedModel", "Runner", "TokenStream", "load_model"]
