"""Public test doubles for guarded programs, without models or network.

`red_guard()` and `red_chain()` are the real guard and chain around an encoder that sees only
colours, for which red is unsafe, and a runner that echoes:

    chain = red_chain()
    reply = chain.invoke([{"role": "user", "content": [
        {"type": "image", "image": png(picture(red=True))},
        {"type": "text", "text": "what is it?"},
    ]}])
    assert reply.verdicts[0].decision == "mask"

`ScriptedRunner` and `EagerRunner` call tools; `dialects.blocks_of` writes an image in every form of
content block that LangChain and its providers use; `harmless` has texts and files that only look as
if they held one.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from guardalign_middleware.local_extra import require_local
from guardalign_middleware.testing.pictures import (
    BOX,
    RED,
    all_red,
    base64_png,
    data_url,
    has_red,
    holds_raw,
    open_png,
    picture,
    png,
)

if TYPE_CHECKING:
    from guardalign_middleware.testing.encoders import CountingEncoder, FakeEncoder
    from guardalign_middleware.testing.guards import (
        THRESHOLD,
        coarse_guard,
        counting_guard,
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
    "CountingEncoder",
    "EagerRunner",
    "EchoCall",
    "EchoRunner",
    "FakeEncoder",
    "ScriptedRunner",
    "all_red",
    "base64_png",
    "coarse_guard",
    "counting_guard",
    "data_url",
    "has_red",
    "holds_raw",
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
    "encoders": ("CountingEncoder", "FakeEncoder"),
    "guards": (
        "THRESHOLD",
        "coarse_guard",
        "counting_guard",
        "red_chain",
        "red_config",
        "red_detector",
        "red_guard",
    ),
    "runners": ("BarrierRunner", "EchoCall", "EchoRunner"),
    "tool_runners": ("EagerRunner", "ScriptedRunner"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOME_OF[name] != "runners":
        require_local()
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
