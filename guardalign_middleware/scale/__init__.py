"""More than one machine: scans and servers on a cluster of Ray.

Needs the extra `ray`. Nothing here imports Ray, or what loads models, before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guardalign_middleware.scale.dataset import scan_dataset
    from guardalign_middleware.scale.engine import Actors

_HOMES = {"Actors": "engine", "scan_dataset": "dataset"}
__all__ = ["Actors", "scan_dataset"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
