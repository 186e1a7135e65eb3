"""Answering under the safety prefix: prompt, calibrated attention, engine, runner.

Names that need torch and transformers are imported on first use, so the stream and the `Runner`
protocol work without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from guardalign_middleware.generation.stream import Emit, Runner, TokenStream
from guardalign_middleware.local_extra import require_local

if TYPE_CHECKING:
    from guardalign_middleware.generation.engine.loading import LoadedModel, load_model
    from guardalign_middleware.generation.runner import CalibratedRunner

__all__ = ["CalibratedRunner", "Emit", "LoadedModel", "Runner", "TokenStream", "load_model"]

_HOMES = {
    "CalibratedRunner": "runner",
    "LoadedModel": "engine.loading",
    "load_model": "engine.loading",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_local()
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
