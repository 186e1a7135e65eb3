"""What a guard tells its clients about itself, before they send pictures."""

from __future__ import annotations

from importlib.resources import files
from pathlib import PurePath
from typing import Any, Literal, Self

from pydantic import ValidationError

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.config.base import Count, Sha256, invalid_fields
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.preset_files import LOCAL_DIR
from guardalign_middleware.wire.base import WIRE_VERSION, WireModel

_SHIPPED = "guardalign_middleware:"
# Of no concern to a client: where verdicts are logged, what answers, and how it is served.
_KEPT_BACK = {"audit", "runner", "serve"}


class GuardDescription(WireModel):
    """A guard.

    Attributes:
        version: of the wire format.
        guard: fingerprint of what a result depends on; every answer repeats it.
        settings: its config without paths of the server's machine.
        records: whether it records every picture in an audit log, so that clients must ask again
            about a picture that they know.
        max_body_bytes, max_images, max_pixels, max_text_characters: what one request may hold at
            most.
    """

    version: Literal[1] = WIRE_VERSION
    guard: Sha256
    settings: dict[str, Any]
    records: bool
    max_body_bytes: Count
    max_images: Count
    max_pixels: Count
    max_text_characters: Count

    @classmethod
    def of(cls, config: GuardAlignConfig, fingerprint: str, **limits: int) -> Self:
        """The description of a guard.

        Args:
            config: of the guard.
            fingerprint: of its identity.
            limits: what one request may hold at most.
        """
        known = _KEPT_BACK & set(type(config).model_fields)
        return cls(
            guard=fingerprint,
            settings=_with_paths(config.model_dump(mode="json", exclude=known), _portable),
            records=config.audit is not None,
            **limits,
        )

    def config(self) -> GuardAlignConfig:
        """The guard's config, for its client.

        Raises:
            ConfigError: this version does not know one of the settings.
        """
        try:
            return GuardAlignConfig.model_validate(_with_paths(self.settings, _resolved))
        except ValidationError as error:
            raise ConfigError(
                f"The guard has settings that this version cannot read: {invalid_fields(error)}.",
                remedy="Install the same version of GuardAlign on both sides.",
            ) from error


def _with_paths(value: Any, change: Any, key: str = "") -> Any:
    """The settings with every path changed."""
    if isinstance(value, dict):
        return {name: _with_paths(item, change, name) for name, item in value.items()}
    if isinstance(value, str):
        if key in {"anchors", "profile", "anchor_cache", "int8_cache"}:
            return change(value)
        if key == "model" and value.startswith(LOCAL_DIR):
            return LOCAL_DIR + change(value.removeprefix(LOCAL_DIR))
    return value


def _portable(path: str) -> str:
    """A shipped file by its place in the package; of any other file only the name."""
    shipped = PurePath(str(files("guardalign_middleware")))
    inside = PurePath(path)
    if inside.is_relative_to(shipped):
        return _SHIPPED + inside.relative_to(shipped).as_posix()
    return inside.name


def _resolved(path: str) -> str:
    """The same shipped file in this installation; of any other file only the name."""
    if not path.startswith(_SHIPPED):
        return PurePath(path).name
    return str(files("guardalign_middleware").joinpath(path.removeprefix(_SHIPPED)))
