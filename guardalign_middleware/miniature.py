"""Whether a guard is the miniature one, which knows drawn pictures only, and the warning then."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.preset_files import LOCAL_DIR


def is_miniature(config: GuardAlignConfig) -> bool:
    """Whether the config's encoder is the shipped miniature one, whatever the preset's name."""
    return config.detection.encoder.model == f"{LOCAL_DIR}{_shipped('clip')}"


def is_its_own_model(model: str) -> bool:
    """Whether a model is the shipped miniature one, which also knows drawn pictures only."""
    return model == _shipped("llava")


def miniature_warning(config: GuardAlignConfig, owner: str, what: str) -> str:
    """The warning of a miniature guard in front of something real.

    Args:
        config: of the guard.
        owner: what the guard is in: an adapter, or the server.
        what: it stands in front of.
    """
    return (
        f"{owner} guards {what} with the preset {config.name!r}, which only knows drawn pictures. "
        "For photographs, run `guardalign init --preset clip-vit-l-14-336` with pictures of your "
        "own, and give the file that it writes, guard.yaml, as the preset."
    )


@cache
def _shipped(folder: str) -> str:
    return str(Path(str(files("guardalign_middleware") / "mini" / folder)).resolve())
