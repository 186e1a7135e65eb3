"""Preset files: where they are, how they are read, and how their relative paths are resolved.

A config model declares a path as `PresetPath`, a model that may be a local folder as `EncoderName`
or `ModelName`, and weights that may be a file as `WeightsName`. Validated with
`context={"folder": …}`, relative paths are resolved against that folder; without a context, as in
Python code, they are left as they are.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.strict import Malformed, is_regular, read_bytes, yaml_value

LOCAL_DIR = "local-dir:"
"""Before the path of an encoder's folder."""


def _resolved(path: str | Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    if folder is None:
        return Path(path)
    try:
        resolved: Path = (folder / path).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
        raise ValueError(f"the path {path} leads nowhere: {error}") from error
    return resolved


def _encoder_name(name: str, info: ValidationInfo) -> str:
    if not name.startswith(LOCAL_DIR) or not info.context:
        return name
    return f"{LOCAL_DIR}{_resolved(name.removeprefix(LOCAL_DIR), info)}"


def _model_name(name: str, info: ValidationInfo) -> str:
    return str(_resolved(name, info)) if name.startswith(".") and info.context else name


def _weights_name(name: str, info: ValidationInfo) -> str:
    return str(_resolved(name, info)) if is_file_name(name) and info.context else name


def is_file_name(weights: str) -> bool:
    """Whether an encoder's weights are named as a file, and not by a tag of open_clip."""
    return bool(Path(weights).suffix)


PresetPath = Annotated[Path, AfterValidator(_resolved)]
"""A file or folder; in a preset file, relative to that file."""

WeightsName = Annotated[str, AfterValidator(_weights_name)]
"""A tag of open_clip, or a file with a path like `PresetPath`."""

EncoderName = Annotated[str, AfterValidator(_encoder_name)]
"""An open_clip name, or `local-dir:PATH` with a path like `PresetPath`."""

ModelName = Annotated[str, AfterValidator(_model_name)]
"""A hub id or an absolute path; a name that starts with "." is a path like `PresetPath`."""


def available_presets() -> list[str]:
    """Names of the shipped presets."""
    folder = files("guardalign_middleware") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def find_preset(preset: str | Path) -> Path:
    """The file of a shipped preset, or the YAML file that is given.

    Raises:
        ConfigError: there is no such preset or file.
    """
    candidate = Path(preset)
    if candidate.suffix in {".yaml", ".yml"}:
        if not is_regular(candidate):
            raise ConfigError(
                f"There is no preset file {candidate}.",
                remedy="Check the path, or write a preset with `guardalign init`.",
            )
        return candidate
    shipped = Path(str(files("guardalign_middleware") / "presets" / f"{preset}.yaml"))
    if not is_regular(shipped):
        names = ", ".join(available_presets())
        raise ConfigError(
            f"There is no preset named {str(preset)!r}.",
            remedy=f"Use one of: {names}; or the path of a .yaml file.",
        )
    return shipped


def read_preset(path: Path) -> dict[str, Any]:
    """The fields of a preset file, unvalidated.

    Raises:
        ConfigError: the file cannot be read or is not a YAML mapping.
    """
    try:
        return preset_fields(read_bytes(path))
    except Malformed as error:
        raise ConfigError(f"Cannot read the preset {path}: {error}.") from error


def preset_fields(data: bytes) -> dict[str, Any]:
    """The fields of a preset from the bytes of its file, unvalidated.

    Raises:
        Malformed: it is not a YAML mapping of plain values; the text names the field.
    """
    fields = yaml_value(data)
    if not isinstance(fields, dict):
        raise Malformed("it should be a mapping of fields")
    return fields
