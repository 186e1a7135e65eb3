"""What keeps a guard from starting, found from its config alone: no model and no torch is loaded.

Adapters load their models at the first picture. What can be known before is said when they are
made, so that it is not the first user who finds it.
"""

from __future__ import annotations

from pathlib import Path

from guardalign_middleware.config import EncoderConfig, GuardAlignConfig, RunnerConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.local_extra import require_extra, require_int8
from guardalign_middleware.strict import Malformed, read_bytes


def check_guard(config: GuardAlignConfig) -> None:
    """Find what would keep the config's guard from loading.

    The profile has to be there and the files readable, the extras installed and the key of the
    audit log fit to use. Whether models, anchors and profile belong together is found by loading.

    Raises:
        ConfigError: the profile, a file or an extra is missing.
        AuditError: the key of the audit log cannot be read, or is weak.
    """
    require_profile(config)
    require_seen_model(config)
    detection, second = config.detection, config.detection.defence.second
    _check_readable("anchors", detection.anchors, "Check the path, detection.anchors.")
    if second is not None and second.anchors is not None:
        _check_readable("anchors", second.anchors, "Check the path, defence.second.anchors.")
    if detection.profile is not None:
        remedy = "Check the path, detection.profile, or fit one with `guardalign calibrate`."
        _check_readable("threshold profile", detection.profile, remedy)
    _check_extras(config)
    if config.audit is not None:
        # Imported on use: the log needs POSIX locks, and the guard alone does not.
        from guardalign_middleware.audit.keys import key_from

        key_from(config.audit.key_file, config.audit.key_variable)


def check_chain(config: GuardAlignConfig) -> None:
    """Find what would keep the config's chain from loading, as `check_guard` for a guard.

    Raises:
        ConfigError: as `check_guard`; or the preset has no runner.
        AuditError: as `check_guard`.
    """
    runner = require_runner(config)
    check_guard(config)
    if runner.device_map is not None:
        require_extra("sharded", "runner.device_map needs", ("accelerate",))


def require_profile(config: GuardAlignConfig) -> None:
    """Reject a config that decides without a threshold profile; to observe, none is needed.

    Raises:
        ConfigError: there is none.
    """
    if config.detection.profile is None and config.mode == "enforce":
        raise ConfigError(
            f"The preset {config.name!r} has no threshold profile, so it cannot decide at which "
            "distance an image is unsafe.",
            remedy="Fit one on your own images: `guardalign init` does, and writes a preset to use "
            "instead, guard.yaml; or use `guardalign calibrate`, and name its file as "
            "detection.profile. To collect distances without deciding, set mode to observe.",
        )


def require_runner(config: GuardAlignConfig) -> RunnerConfig:
    """The runner section of a preset.

    Raises:
        ConfigError: the preset has none, because it is for `ImageGuard` only.
    """
    if config.runner is None:
        raise ConfigError(
            f"The preset {config.name!r} has no runner, so it can only scan images.",
            remedy="Use ImageGuard, or a preset that names a model.",
        )
    return config.runner


def require_seen_model(config: GuardAlignConfig) -> RunnerConfig | None:
    """The runner section whose model is looked through, if there is one.

    Raises:
        ConfigError: the config looks at what its model sees, and has no model.
    """
    if "model" not in config.detection.sees:
        return None
    if config.runner is None:
        raise ConfigError(
            f"The preset {config.name!r} looks at what its model sees, but has no runner.",
            remedy='Add a runner, or set detection.sees to "any".',
        )
    return config.runner


def _check_readable(what: str, path: Path, remedy: str) -> None:
    try:
        read_bytes(path)
    except Malformed as error:
        raise ConfigError(f"Cannot read the {what} {path}: {error}.", remedy=remedy) from error


def _check_extras(config: GuardAlignConfig) -> None:
    second = config.detection.defence.second
    encoders: list[EncoderConfig] = [config.detection.encoder]
    encoders += [] if second is None else [second.encoder]
    if any(one.precision == "int8" for one in encoders):
        require_int8()
    if config.words.mode != "off":
        require_extra("words", "Reading words in pictures needs", ("rapidocr", "onnxruntime"))
