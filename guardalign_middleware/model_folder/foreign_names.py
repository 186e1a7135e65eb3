"""Options in a model's files that name another file, another model or code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Each of them loads something else, under rules of its own.
_REFUSED = {
    "transformers_weights": "names the file of its weights",
    "audio_tokenizer": "loads another model",
    "audio_tokenizer_name_or_path": "loads another model",
    "use_pretrained_backbone": "loads another model",
}
# Names of architectures and implementations; with one of these characters they name a repository.
_ARCHITECTURES = {"backbone", "architecture"}
_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
_ELSEWHERE = re.compile(r"[/\\:|]")
_SCHEMES = ("hf-hub:", "hf_hub:", "local-dir:", "file:")
# Lists of versions of a file, of which the one that fits the library is opened.
_VERSIONS = {"fast_tokenizer_files", "configuration_files"}
_FILE = re.compile(r".*(_file|_files|_path|_dir|_folder|_spm|_codes)")
# Old files have these, and a `name_or_path`, from their author's computer; transformers sets or
# ignores them.
_STALE = {
    "added_tokens_file",
    "chat_template_file",
    "special_tokens_map_file",
    "tokenizer_config_file",
    "tokenizer_file",
}


def foreign_name(options: dict[str, Any], folder: Path) -> str | None:
    """What in the options of a file names something outside the folder; None if nothing does.

    Args:
        options: the parsed file.
        folder: in which the file lies.
    """
    for place, name, value in fields_of(options):
        if not value:
            continue
        if name in _REFUSED:
            return f"{place} {_REFUSED[name]}"
        if name.endswith(_IMPLEMENTATIONS) or name in _ARCHITECTURES:
            if any(_ELSEWHERE.search(text) for text in _texts(value)):
                return f"{place} names code or a model elsewhere"
        elif name in _VERSIONS:
            if any(not _is_plain(text) for text in _texts(value)):
                return f"{place} names a file outside the folder"
        elif isinstance(value, str):
            if value.startswith(_SCHEMES):
                return f"{place} names a model or file elsewhere"
            told = name.endswith("name_or_path") or name in _STALE
            if _FILE.fullmatch(name) and not told and _is_elsewhere(value, folder):
                return f"{place} names the file {value[:200]}, outside the folder"
    return None


def fields_of(options: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Place, name and value of every field, at any depth."""
    waiting: list[tuple[str, Any]] = [("", options)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            for name, inner in value.items():
                path = f"{place}.{name}".lstrip(".")[:200]
                yield path, name, inner
                waiting.append((path, inner))
        elif isinstance(value, list):
            waiting += [(place, item) for item in value]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    several = value if isinstance(value, list) else [value]
    return [one for one in several if isinstance(one, str)]


def _is_plain(name: str) -> bool:
    return name not in (".", "..") and not _ELSEWHERE.search(name) and "\0" not in name


def _is_elsewhere(name: str, folder: Path) -> bool:
    """Whether a name of a file would open one outside: names of nothing open nothing."""
    if _is_plain(name) or "\0" in name:
        return False
    # A library takes it relative to the folder or to the working directory.
    for base in (folder, Path()):
        real = os.path.realpath(base / name)
        root = os.path.realpath(folder)
        if os.path.exists(real) and os.path.commonpath([root, real]) != root:
            return True
    return False
