"""Public doubles for testing a guarded program: no model, no network.

`red_guard()` and `red_chain()` are the real guard and chain around an encoder that sees colours
only and a runner that echoes: what is red is unsafe. `picture(red=True)` makes a picture for them.
"""

from guardalign_middleware.testing.encoders import FakeEncoder
from guardalign_middleware.testing.guards import (
    THRESHOLD,
    red_chain,
    red_config,
    red_detector,
    red_guard,
)
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
