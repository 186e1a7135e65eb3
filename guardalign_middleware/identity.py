"""What answers, cleaned images and loaded models depend on, as fingerprints."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardalign_middleware import __version__
from guardalign_middleware.config import DetectionConfig, GuardAlignConfig, RunnerConfig
from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.output import NO_INFLUENCE, identity_of
from guardalign_middleware.preset_files import LOCAL_DIR, is_file_name
from guardalign_middleware.provenance import Provenance, WeightFile
from guardalign_middleware.remote import RemoteImageGuard
from guardalign_middleware.strict import Malformed, is_folder, is_regular, read_bytes

if TYPE_CHECKING:
    from guardalign_middleware.guard import GuardAlign
    from guardalign_middleware.image_guard import ImageGuard

_SPEED: Any = {"batch_size", "int8_cache", "local_files_only"}
_NOT_OF_RESULTS: Any = {
    **dict.fromkeys(NO_INFLUENCE, True),
    "detection": {
        **dict.fromkeys("anchors profile anchor_cache".split(), True),
        **dict.fromkeys("remembered_verdicts remembered_bytes max_queue".split(), True),
        "encoder": _SPEED,
        "defence": {"second": {"anchors": True, "encoder": _SPEED}},
    },
}
"""Fields of a config without influence on what a scan finds, and paths of files."""
_LINES = 2
"""Of the form of a scan's lines, in which an input is known again."""


def chain_identity(config: GuardAlignConfig, chain: GuardAlign | None) -> dict[str, Any]:
    """What an answer depends on, as plain JSON values.

    Args:
        config: of the chain.
        chain: the loaded chain; None if it is loaded from the config.
    """
    runner = config.runner if chain is None else chain.runner.config
    record = _record(config)
    record["runner"] = None if runner is None else runner.model_dump(mode="json")
    if chain is not None:
        record["chain"] = [chain.runner.name, _judged_by(chain.guard)]
        # Answers that a hook has not seen are other ones.
        told: object = getattr(chain.runner, "fingerprint", None)
        record["answered by"] = told if isinstance(told, str) else None
    identity: dict[str, Any] = {"guard": config.name, "fingerprint": _fingerprint(record)}
    if runner is not None:
        identity |= {
            "safety_prefix": runner.prefix.text,
            "prefix_policy": runner.prefix.policy,
            "gamma": runner.calibration.gamma,
            "calibration_mode": runner.calibration.mode,
            "calibration_band": list(runner.calibration.band),
        }
    return identity


def cache_identity(config: GuardAlignConfig, chain: GuardAlign | None) -> dict[str, Any]:
    """`chain_identity`, which here differs also where weights were changed in their folder.

    For caches of answers, for which the digests of gigabytes are too slow. Times of files differ
    between machines, so nothing that is compared between machines may depend on this.
    """
    identity = chain_identity(config, chain)
    weights = _weights(config, chain)
    return {**identity, "fingerprint": _fingerprint({**identity, "weights": weights})}


def guard_identity(
    config: GuardAlignConfig, guard: ImageGuard | RemoteImageGuard | None
) -> dict[str, Any]:
    """What a cleaned image depends on, as plain JSON values.

    Args:
        config: of the guard.
        guard: the loaded guard; None if it is loaded from the config.
    """
    if isinstance(guard, RemoteImageGuard):
        return guard.identity
    record = _record(config.model_copy(update={"runner": None}))
    record["seen by"] = _seen_by(config)
    if guard is not None:
        record["guard"] = _judged_by(guard)
    return {"guard": config.name, "fingerprint": _fingerprint(record)}


def scan_identity(config: GuardAlignConfig) -> str:
    """Equal for configs whose results of a scan may stand together.

    Files count by their contents, wherever they lie. The version is part of it, since the rules and
    classifiers for words come with it.
    """
    record = {
        "config": config.model_dump(mode="json", exclude=_NOT_OF_RESULTS),
        "files": _file_digests(config.detection),
        "seen by": _seen_by(config),
        "version": __version__,
        "lines": _LINES,
    }
    return _fingerprint(record)


def preset_key(config: GuardAlignConfig) -> str:
    """Equal for presets that serve the same, by their settings and the files that they name.

    It holds no secret, so it may be shown.
    """
    runner = config.runner
    record = {
        "config": config.model_dump(mode="json"),
        "detector": detector_key(config),
        "runner": None if runner is None else runner_key(runner),
    }
    return _fingerprint(record)


def meters_key(config: GuardAlignConfig) -> str:
    """Equal for configs whose detectors measure the same, whatever their thresholds."""
    detection = config.detection.model_copy(update={"profile": None})
    return detector_key(config.model_copy(update={"detection": detection}))


def detector_key(config: GuardAlignConfig) -> str:
    """Equal for configs that load the same detector."""
    detection = config.detection
    second = detection.defence.second
    models = [detection.encoder.model, *([] if second is None else [second.encoder.model])]
    return _fingerprint(
        {
            "detection": detection.model_dump(mode="json"),
            "files": _file_digests(detection),
            "weights": [_stamps(model.removeprefix(LOCAL_DIR)) for model in models],
            "seen by": _seen_by(config),
        }
    )


def guard_key(config: GuardAlignConfig) -> str:
    """Equal for configs that load the same guard."""
    record: dict[str, Any] = {
        "guard": config.model_dump(mode="json", exclude={"serve"}),
        "detector": detector_key(config),
    }
    if config.audit is not None:
        # A log is written with one key.
        variable = os.environ.get(config.audit.key_variable or "", "")
        record["keys"] = [_digest(config.audit.key_file), _sha256(os.fsencode(variable))]
    return _fingerprint(record)


def runner_key(runner: RunnerConfig) -> str:
    """Equal for configs that load the same runner."""
    record = {"runner": runner.model_dump(mode="json"), "weights": _stamps(runner.model)}
    return _fingerprint(record)


def _record(config: GuardAlignConfig) -> dict[str, Any]:
    return {
        # Where verdicts are logged, and how they are served, has no influence on them.
        "config": config.model_dump(mode="json", exclude={"audit", "serve"}),
        "files": _file_digests(config.detection),
    }


def _judged_by(guard: ImageGuard | RemoteImageGuard) -> str:
    """What a loaded guard may have been given instead of what its config names."""
    if isinstance(guard, RemoteImageGuard):
        return str(guard.identity["fingerprint"])
    return identity_of(guard.config, guard.detector, guard.words)


def _weights(config: GuardAlignConfig, chain: GuardAlign | None) -> list[Any]:
    """The runner's weight files: those that were loaded, or those that will be."""
    loaded: Provenance | None = getattr(chain and chain.runner, "provenance", None)
    if loaded is not None:
        files = [[file.path.name, *file.state[2:]] for file in loaded.weights]
        return [loaded.revision, files]
    return [] if config.runner is None else _stamps(config.runner.model)


def _seen_by(config: GuardAlignConfig) -> list[Any]:
    """The model whose forms are looked at; otherwise the runner has no say in a verdict."""
    runner = config.runner
    if runner is None or "model" not in config.detection.sees:
        return []
    return [runner.model, runner.revision, _stamps(runner.model)]


def _file_digests(detection: DetectionConfig) -> list[str]:
    second = detection.defence.second
    own = [detection.anchors, detection.profile]
    found = [_digest(path) for path in (own if second is None else [*own, second.anchors])]
    encoders = [detection.encoder, *([] if second is None else [second.encoder])]
    names = [each.pretrained for each in encoders if each.pretrained is not None]
    return [*found, *(_weights_digest(Path(name)) for name in names if is_file_name(name))]


def _weights_digest(path: Path) -> str:
    """SHA-256 of a file of weights, read once; "" for one that loading will complain about."""
    try:
        return _digest_once(WeightFile.note(path))
    except ModelLoadError:
        return ""


@lru_cache(maxsize=64)
def _digest_once(file: WeightFile) -> str:
    return file.sha256


def _stamps(model: str) -> list[Any]:
    """Names, sizes and times of a model's files; empty for a model that is no local folder."""
    folder = Path(os.path.expanduser(model))
    if not is_folder(folder):
        return []
    try:
        found = [(path.name, path.stat()) for path in folder.iterdir() if is_regular(path)]
    except OSError:
        return []  # Loading the model will say what is wrong with it.
    return sorted([name, stat.st_size, stat.st_mtime_ns] for name, stat in found)


def _fingerprint(record: dict[str, Any]) -> str:
    return _sha256(json.dumps(record, sort_keys=True).encode())


def _digest(path: Path | None) -> str:
    """SHA-256 of a file's contents; "" for an unreadable file, which is an error at loading."""
    try:
        return "" if path is None else _sha256(read_bytes(path))
    except Malformed:
        return ""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
