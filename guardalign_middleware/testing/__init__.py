"""Public doubles for testing a guarded program: no model, no network.

`red_guard()` and `red_chain()` are the real guard and chain around an encoder that sees colours
only and a runner that echoes: what is red is unsafe. `picture(red=True)` makes a picture for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from guardalign_middleware.testing.pictures import (
    BOX,
    RED,
    all_red,
    base64_png,
    data_url,
    has_red,
    open_png,
    picture,
    png,
)

if TYPE_CHECKING:
    from guardalign_middleware.testing.encoders import FakeEncoder
    from guardalign_middleware.testing.guards import (
        THRESHOLD,
        red_chain,
        red_config,
        red_detector,
        red_guard,
    )
    from guardalign_middleware.testing.runners import BarrierRunner, EchoCall, EchoRunner
    from guardalign_middleware.testing.tool_runners import EagerRunner, ScriptedRunner

__all__ = [
    "BOX",
    "RED",
    "THRESHOLD",
    "BarrierRunner",
    "EagerRunner",
    "EchoCall",
    "EchoRunner",
    "FakeEncoder",
    "ScriptedRunner",
    "all_red",
    "base64_png",
    "data_url",
    "has_red",
    "open_png",
    "picture",
    "png",
    "red_chain",
    "red_config",
    "red_detector",
    "red_guard",
]

# Imported on first use: pictures and dialects should not cost the seconds that torch needs.
_HOMES = {
    "encoders": ("FakeEncoder",),
    "guards": ("THRESHOLD", "red_chain", "red_config", "red_detector", "red_guard"),
    "runners": ("BarrierRunner", "EchoCall", "EchoRunner"),
    "tool_runners": ("EagerRunner", "ScriptedRunner"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
