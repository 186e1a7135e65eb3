"""Where verdicts are recorded."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from guardalign_middleware.config.base import MAX_COUNT, FrozenModel
from guardalign_middleware.preset_files import PresetPath


class AuditConfig(FrozenModel):
    """The log in which the guard records every verdict; see `guardalign_middleware.audit`.

    The key is read from either a file or an environment variable. It is never part of a preset,
    because presets are copied and committed.
    """

    log: PresetPath
    key_file: PresetPath | None = None
    key_variable: str | None = Field(
        None, min_length=1, description="name of the environment variable that holds the key"
    )
    fsync: bool = Field(False, description="wait until each line is on the disk")
    include_source: bool = Field(
        False, description="also record the source of an image, which may be a path"
    )

    rotate_bytes: int | None = Field(
        None,
        ge=65_536,
        le=MAX_COUNT,
        description="close the file before it grows larger, and begin a new one",
    )
    rotate_daily: bool = Field(False, description="begin a new file on each day, UTC")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.key_file is None) == (self.key_variable is None):
            raise ValueError("Exactly one of key_file and key_variable should be given.")
        return self
