"""The files of a model's folder: regular ones, inside it after resolving links, and no others."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.model_folder.counts import too_many
from guardalign_middleware.model_folder.foreign_names import foreign_name
from guardalign_middleware.strict import Malformed, json_value, read_bytes

MAX_ENTRIES = 10_000
MAX_CONFIG_BYTES = 16 << 20
"""Cap of a file of options. The largest of them, tokenizer_config.json, rarely has 1 MB."""
MAX_OTHER_BYTES = 1 << 30
"""Cap of a vocabulary, tokenizer or template: libraries read them whole."""

_CONFIGS = frozenset(
    {
        "adapter_config.json",
        "added_tokens.json",
        "audio_tokenizer_config.json",
        "chat_template.json",
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "video_preprocessor_config.json",
    }
)
# transformers reads the others by its own rules, which let doubled names and NaN pass.
_STRICT = frozenset({"adapter_config.json"})
_READ_WHOLE = (".json", ".jinja", ".txt", ".model", ".tiktoken", ".bpe", ".codes", ".vocab")


def checked_files(folder: Path) -> tuple[Path, ...]:
    """Every file of a model's folder and its sub-folders, hidden ones left out.

    Links in a snapshot of the hub's cache may lead to the cache's own blobs.

    Raises:
        ModelLoadError: a file is no regular file, or lies outside the folder; a file of options is
            damaged or too large, or names a file, a model or code elsewhere.
    """
    found: list[Path] = []
    roots = _roots(folder)
    waiting = [folder]
    while waiting:
        for path in _entries(waiting.pop()):
            real = os.path.realpath(path)
            if not any(os.path.commonpath([root, real]) == root for root in roots):
                raise ModelLoadError(
                    f"{path} is a link to {real}, outside the model's folder.",
                    remedy="Copy the file into the folder, or give the folder that holds them all.",
                )
            mode = _mode(path)
            if mode is None:
                continue  # A link to nothing: for every reader the file is not there.
            if stat.S_ISDIR(mode):
                if not path.is_symlink():  # else it lies inside and is visited there
                    waiting.append(path)
                continue
            if not stat.S_ISREG(mode):
                raise ModelLoadError(
                    f"{path} is not a regular file.",
                    remedy="Give a folder written by save_pretrained.",
                )
            found.append(path)
            if len(found) > MAX_ENTRIES:
                raise ModelLoadError(
                    f"{folder} holds more than {MAX_ENTRIES:,} files.",
                    remedy="Give a folder that holds one model and nothing else.",
                )
    for path in found:
        _check_contents(path)
    return tuple(sorted(found))


def _roots(folder: Path) -> list[str]:
    root = os.path.realpath(folder)
    parent, name = os.path.split(os.path.dirname(root))
    # The hub's cache: models--owner--name/snapshots/COMMIT links into models--owner--name/blobs.
    cached = name == "snapshots" and os.path.basename(parent).startswith("models--")
    return [root, os.path.join(parent, "blobs")] if cached else [root]


def _entries(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.name[0] != "."]
    except OSError as error:
        raise ModelLoadError(
            f"The folder {folder} cannot be read: {error.strerror}.",
            remedy="Check the path and its permissions.",
        ) from error


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _check_contents(path: Path) -> None:
    if path.name not in _CONFIGS:
        if path.suffix in _READ_WHOLE and path.stat().st_size > MAX_OTHER_BYTES:
            _refuse(path, f"it has more than {MAX_OTHER_BYTES:,} bytes")
        return
    try:
        data = read_bytes(path, MAX_CONFIG_BYTES)
        value = json_value(data, foreign=path.name not in _STRICT, max_depth=64)
    except Malformed as error:
        _refuse(path, str(error))
    if not isinstance(value, dict):
        _refuse(path, "it should be a mapping of fields")
    problem = foreign_name(value, path.parent) or too_many(value)
    if problem is not None:
        _refuse(path, problem)


def _refuse(path: Path, problem: str) -> NoReturn:
    raise ModelLoadError(
        f"{path} is refused: {problem}.",
        remedy="Get the model's own files again, or repair this one.",
    )
