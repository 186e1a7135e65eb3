"""The whole configuration as frozen pydantic models; a preset is one YAML file.

`GuardAlignConfig.load("mini")` reads `presets/mini.yaml`; it also takes the path of a YAML file.
Relative paths inside a YAML file are relative to that file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from guardalign_middleware.config.audit import AuditConfig
from guardalign_middleware.config.base import ColourLevel, FrozenModel, Sha256
from guardalign_middleware.config.detection import (
    DefenceConfig,
    DetectionConfig,
    EncoderConfig,
    FormConfig,
    PatchConfig,
    Precision,
    SecondEncoderConfig,
    Sight,
    TokenizerPin,
    TransportConfig,
    ViewName,
)
from guardalign_middleware.config.intake import ImageFormat, IntakePolicy
from guardalign_middleware.config.output import OutputConfig
from guardalign_middleware.config.runner import CalibrationConfig, PrefixConfig, RunnerConfig
from guardalign_middleware.config.sanitize import SanitizeConfig
from guardalign_middleware.config.serve import ServeConfig
from guardalign_middleware.config.words import WordsAction, WordsConfig, WordsMode
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.preset_files import find_preset, read_preset

__all__ = [
    "AuditConfig",
    "CalibrationConfig",
    "ColourLevel",
    "DefenceConfig",
    "DetectionConfig",
    "EncoderConfig",
    "FormConfig",
    "GuardAlignConfig",
    "ImageFormat",
    "IntakePolicy",
    "Mode",
    "OutputConfig",
    "PatchConfig",
    "Precision",
    "PrefixConfig",
    "RunnerConfig",
    "SanitizeConfig",
    "SecondEncoderConfig",
    "ServeConfig",
    "Sha256",
    "Sight",
    "TokenizerPin",
    "TransportConfig",
    "ViewName",
    "WordsAction",
    "WordsConfig",
    "WordsMode",
]

Mode = Literal["enforce", "observe"]
"""Whether a guard acts on what it finds."""


class GuardAlignConfig(FrozenModel):
    """A whole guard: intake, detection, words, sanitizing, output, and optionally a runner behind.

    With `on_fault="allow"`, an image on which the detector fails is forwarded unscanned, and its
    verdict gives the reason in `fault`. Images that cannot be decoded, in which something was
    found, or whose verdict cannot be recorded are still stopped.

    With `mode="observe"`, every image that can be scanned passes, and its verdict says what would
    have been decided. It needs no threshold profile.
    """

    name: str
    verified: bool = Field(False, description="whether this preset's figures were measured")
    notes: str = ""
    intake: IntakePolicy = IntakePolicy()
    detection: DetectionConfig
    words: WordsConfig = WordsConfig()
    sanitize: SanitizeConfig = SanitizeConfig()
    output: OutputConfig = OutputConfig()
    mode: Mode = Field(
        "enforce", description="observe = scan and record every image, and let it pass"
    )
    on_fault: Literal["raise", "allow"] = Field(
        "raise", description="when the detector fails on an image; allow = fail open"
    )
    audit: AuditConfig | None = None
    runner: RunnerConfig | None = None
    serve: ServeConfig = ServeConfig()
    blocked_reply: str = "I cannot help with this image."

    def in_mode(self, mode: Mode | None) -> GuardAlignConfig:
        """The same config in another mode; None keeps its own."""
        return self if mode is None else self.model_copy(update={"mode": mode})

    @classmethod
    def load(cls, preset: str | Path) -> GuardAlignConfig:
        """Read a shipped preset by name, or any YAML file by path.

        Raises:
            ConfigError: unknown preset, unreadable or invalid file; the message names the field.
        """
        path = find_preset(preset)
        fields = read_preset(path)
        try:
            return cls.model_validate(fields, context={"folder": path.parent})
        except ValidationError as error:
            raise ConfigError(f"The preset {path} is invalid: {error}") from error
