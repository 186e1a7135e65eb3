"""The step `download`: fetch what a preset needs, open it once, and note its digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.first_day.downloads import Download, Need, needs_of, plan
from guardalign_middleware.model_folder.hub import fetch
from guardalign_middleware.model_folder.source import ModelName, open_source
from guardalign_middleware.provenance import digest_files


@dataclass(frozen=True)
class Pinned:
    """A repository whose files are in the cache and were looked at.

    Attributes:
        need: what for.
        revision: the commit.
        licence: as its owner declares it.
        sha256: of every file that is loaded, by name.
    """

    need: Need
    revision: str
    licence: str | None
    sha256: Mapping[str, str]


def wanted(config: GuardAlignConfig) -> tuple[Download, ...]:
    """What a config needs of the hub, before anything is fetched.

    Raises:
        HubError: the hub does not say.
        ModelLoadError: open_clip has no such encoder.
    """
    return tuple(map(plan, needs_of(config)))


def pin(download: Download) -> Pinned:
    """Fetch what is missing, and check and hash all of it.

    Raises:
        HubError: it cannot be fetched.
        ModelLoadError: a file is refused, or is no safetensors file.
    """
    need, revision = download.need, download.model.revision
    if download.missing:
        download.fetch()
    if need.patterns is None:
        # Its index decides which weights are opened.
        folder = open_source(ModelName(need.repository, revision), weights=True).folder
    else:
        folder = fetch(need.repository, revision, need.patterns)
    files = [folder / one.name for one in download.files if "/" not in one.name]
    for path in files:
        if path.suffix == ".safetensors":
            check_safetensors(path)
    return Pinned(need, revision, download.model.licence, digest_files(files))


def check_safetensors(path: Path) -> int:
    """Open a weight file and look at every tensor's place, without reading the numbers.

    Returns:
        How many tensors there are.

    Raises:
        ModelLoadError: it is damaged, or holds none.
    """
    try:
        with safe_open(path, "numpy") as file:
            names: Sequence[str] = list(file.keys())
            for name in names:
                file.get_slice(name).get_shape()
    except (SafetensorError, OSError) as error:
        raise ModelLoadError(
            f"{path} is not a whole safetensors file: {error}.",
            remedy="Remove it from the cache, and fetch it again.",
        ) from error
    if not names:
        raise ModelLoadError(f"{path} holds no tensors.", remedy="Get the model's own weights.")
    return len(names)
