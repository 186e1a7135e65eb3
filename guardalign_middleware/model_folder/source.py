"""Where a model is loaded from: a folder of its own, or the hub's cache, filled before.

Files of the hub are fetched into its cache first, and everything is then loaded from that folder.
So what is checked is what is opened, and no library fetches anything by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.model_folder.contents import checked_files
from guardalign_middleware.model_folder.hub import fetch
from guardalign_middleware.model_folder.shard_index import is_plain_weights
from guardalign_middleware.model_folder.weights import all_weights, loaded_weights, named_weights
from guardalign_middleware.provenance import Provenance, check_pins, digests, note_files
from guardalign_middleware.strict import is_folder, is_regular

SMALL = ("*.json", "*.jinja", "*.txt", "*.model", "*.model.*", "*.tiktoken", "*.bpe", "*.codes")
"""Everything but weights: options, vocabularies, tokenizers and templates."""


class NamesModel(Protocol):
    """What names a model: `ModelName`, or a config with these fields."""

    @property
    def model(self) -> str:
        """A directory or a hub id."""
        ...

    @property
    def revision(self) -> str | None:
        """Of a hub model."""
        ...

    @property
    def local_files_only(self) -> bool:
        """Whether the hub is not asked."""
        ...

    @property
    def sha256(self) -> Mapping[str, str]:
        """File → digest that it must have; empty = any. If there are some, all weights need one."""
        ...


@dataclass(frozen=True)
class ModelName:
    """A model without any other options; see `NamesModel`."""

    model: str
    revision: str | None = None
    local_files_only: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSource:
    """A model's folder, whose files have been checked.

    Attributes:
        folder: all that is loaded lies in it.
        name: name of the directory, or the hub id.
        revision: commit on the hub; None for a directory.
    """

    folder: Path
    name: str
    revision: str | None


def open_source(config: NamesModel, *, weights: bool) -> ModelSource:
    """Find a model's folder, fetch what is missing from the hub, and check its files.

    Args:
        config: names the model.
        weights: whether the weights are needed as well.

    Raises:
        ModelLoadError: there is no such model, or a file in its folder is refused.
    """
    directory = _local_directory(config.model)
    if directory is not None:
        source = ModelSource(directory, directory.name, None)
    else:
        folder = _fetched(config, config.revision, SMALL)
        source = ModelSource(folder, config.model, folder.name)
    checked_files(source.folder)
    if not is_regular(source.folder / "config.json"):
        raise ModelLoadError(
            f"{source.folder} holds no config.json, so it is not a model directory.",
            remedy="Give a directory written by save_pretrained; an adapter alone is no model.",
        )
    if weights and source.revision is not None:
        pinned = [name for name in config.sha256 if is_plain_weights(name)]
        wanted = {*named_weights(source.folder), *pinned}
        _fetched(config, source.revision, tuple(sorted(wanted)))
        checked_files(source.folder)
    return source


def is_hub_id(model: str) -> bool:
    """Whether a model is named by its place on the hub, not by a directory.

    Raises:
        ModelLoadError: it is the path of nothing, or of a file.
    """
    return _local_directory(model) is None


def pinned_weights(source: ModelSource, config: NamesModel) -> Provenance:
    """The weights that will be opened; with pins, after comparing every file in the folder.

    Raises:
        ModelLoadError: a file is missing, refused or not the pinned one.
    """
    opened = note_files(loaded_weights(source.folder))
    if config.sha256:
        # No weights may be there that are not pinned; of the other files, any may be pinned.
        others = (source.folder / name for name in config.sha256)
        paths = {*all_weights(source.folder), *filter(is_regular, others)}
        present = note_files(paths | {file.path for file in opened}, known=opened)
        check_pins(digests(present), config.sha256, config.model)
    return Provenance(source.name, source.revision, opened)


def _fetched(config: NamesModel, revision: str | None, patterns: tuple[str, ...]) -> Path:
    return fetch(config.model, revision, patterns, local_files_only=config.local_files_only)


def _local_directory(model: str) -> Path | None:
    """The directory that `model` names, or None for a hub id such as `owner/name`."""
    path = Path(os.path.expanduser(model))
    if is_folder(path):
        return path
    if os.path.exists(path):
        raise ModelLoadError(
            f"{model} is a file, not a model directory.",
            remedy="Give the directory that holds config.json and the *.safetensors files.",
        )
    if path.is_absolute() or model.startswith(("./", "../", "~")) or model.count("/") > 1:
        raise ModelLoadError(
            f"There is no model directory {model}.",
            remedy="Check the path, or give a hub id of the form owner/name.",
        )
    return None
