"""GuardAlign Middleware: images checked region by region before a multimodal model sees them.

`ImageGuard` scans and cleans images, `CalibratedRunner` answers under a safety prefix with
amplified attention, and `GuardAlign` chains the two. Names are imported on first use, so that
`import guardalign_middleware` does not wait seconds for torch; without torch, everything but the
names that need models works (see `RemoteImageGuard`), and those raise a `ConfigError`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardalign_middleware.config import GuardAlignConfig
    from guardalign_middleware.errors import (
        AuditError,
        CalibrationError,
        ConfigError,
        ContextOverflow,
        DetectionError,
        GuardAlignError,
        GuardError,
        ImageRejected,
        MessageError,
        ModelLoadError,
        OutOfMemory,
        Overloaded,
        Unreachable,
    )
    from guardalign_middleware.generation.runner import CalibratedRunner
    from guardalign_middleware.guard import GuardAlign
    from guardalign_middleware.guarded_stream import GuardedStream
    from guardalign_middleware.image_guard import ImageGuard
    from guardalign_middleware.preset_files import available_presets
    from guardalign_middleware.remote import RemoteImageGuard
    from guardalign_middleware.replies import CalibrationReport, GuardedChunk, GuardedReply, Usage
    from guardalign_middleware.sanitize import SanitizedImage
    from guardalign_middleware.types import CanonicalImage, Message, Region, Verdict

__version__ = "0.1.0"

__all__ = [
    "AuditError",
    "CalibratedRunner",
    "CalibrationError",
    "CalibrationReport",
    "CanonicalImage",
    "ConfigError",
    "ContextOverflow",
    "DetectionError",
    "GuardAlign",
    "GuardAlignConfig",
    "GuardAlignError",
    "GuardError",
    "GuardedChunk",
    "GuardedReply",
    "GuardedStream",
    "ImageGuard",
    "ImageRejected",
    "Message",
    "MessageError",
    "ModelLoadError",
    "OutOfMemory",
    "Overloaded",
    "Region",
    "RemoteImageGuard",
    "SanitizedImage",
    "Unreachable",
    "Usage",
    "Verdict",
    "available_presets",
]

_HOMES = {
    "config": ("GuardAlignConfig",),
    "errors": (
        "AuditError",
        "CalibrationError",
        "ConfigError",
        "ContextOverflow",
        "DetectionError",
        "GuardAlignError",
        "GuardError",
        "ImageRejected",
        "MessageError",
        "ModelLoadError",
        "OutOfMemory",
        "Overloaded",
        "Unreachable",
    ),
    "generation.runner": ("CalibratedRunner",),
    "guard": ("GuardAlign",),
    "guarded_stream": ("GuardedStream",),
    "image_guard": ("ImageGuard",),
    "preset_files": ("available_presets",),
    "remote": ("RemoteImageGuard",),
    "sanitize": ("SanitizedImage",),
    "replies": ("CalibrationReport", "GuardedChunk", "GuardedReply", "Usage"),
    "types": ("CanonicalImage", "Message", "Region", "Verdict"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
