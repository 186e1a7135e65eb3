"""The way to the hub: one question that waits for seconds, then the files, then their digests.

The library that fetches files retries a hub that cannot be reached for more than a minute. So the
hub is asked first, once, and what is wrong is said at once. A commit whose files are all in the
cache needs no hub.

The library's own settings hold: `HF_ENDPOINT` names a mirror, `HF_HUB_OFFLINE` forbids the network,
`HF_HUB_ETAG_TIMEOUT` is how many seconds to wait, and `HF_HOME` or `HF_HUB_CACHE` is the cache.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any, Literal, NoReturn

from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from guardalign_middleware.errors import HubError
from guardalign_middleware.model_folder.loading_faults import short
from guardalign_middleware.model_folder.stalling import unless_stalled
from guardalign_middleware.provenance import digest_files

Kind = Literal["model", "dataset"]

_LOGGER = logging.getLogger(__name__)
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_PATIENCE = 3
"""How many times `HF_HUB_ETAG_TIMEOUT` a download may go on without a byte."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository.

    Attributes:
        name: with its folders.
        size: in bytes.
        sha256: its digest; None for small files, of which the hub has a digest of another kind.
    """

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class HubModel:
    """What the hub says of a repository.

    Attributes:
        name: `owner/name`.
        revision: the commit that was asked for, or that the branch is at now.
        licence: as its owner declares it; None = not declared.
        gated: whether its owner asks for consent.
        files: all of them.
        kind: whether it is a model's or a data set's.
    """

    name: str
    revision: str
    licence: str | None
    gated: bool
    files: tuple[HubFile, ...]
    kind: Kind = "model"

    def matching(self, patterns: Sequence[str]) -> tuple[HubFile, ...]:
        """The files that patterns such as `*.json` name."""
        return tuple(one for one in self.files if any(fnmatch(one.name, p) for p in patterns))


def is_offline() -> bool:
    """Whether the environment forbids to ask the hub."""
    return bool(constants.is_offline_mode())


def cache_folder() -> Path:
    """Where files of the hub are kept."""
    return Path(constants.HF_HUB_CACHE)


def is_commit(revision: str | None) -> bool:
    """Whether a revision names one commit for good; branches and tags can be moved."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def ask_hub(name: str, revision: str | None = None, *, kind: Kind = "model") -> HubModel:
    """What the hub says of a repository, in one request without retries.

    Args:
        name: `owner/name`.
        revision: commit, branch or tag; None = the default branch.
        kind: whether it is a model's or a data set's.

    Raises:
        HubError: it does not answer in time, or has no such repository or revision for this user.
    """
    if is_offline():
        _refuse_offline(name, "HF_HUB_OFFLINE is set")
    try:
        info: Any = HfApi().repo_info(
            name,
            revision=revision,
            repo_type=kind,
            timeout=float(constants.HF_HUB_ETAG_TIMEOUT),
            files_metadata=True,
        )
        card = info.card_data
        return HubModel(
            name,
            str(info.sha),
            None if card is None else card.get("license"),
            bool(info.gated),
            tuple(
                HubFile(one.rfilename, one.size or 0, None if one.lfs is None else one.lfs.sha256)
                for one in info.siblings or ()
            ),
            kind,
        )
    except Exception as error:  # noqa: BLE001 (of the library and of two generations of its HTTP)
        place = name if kind == "model" else f"{kind}s/{name}"
        raise _hub_error(place, revision, error) from error


def fetch(
    name: str,
    revision: str | None,
    patterns: Sequence[str],
    *,
    local_files_only: bool = False,
    kind: Kind = "model",
) -> Path:
    """The folder of the cache with a repository's files, after fetching those that are missing.

    Files that were fetched are compared with the digests that the hub lists, once.

    Args:
        name: `owner/name`.
        revision: commit, branch or tag; None = the default branch.
        patterns: which files, such as `*.json`.
        local_files_only: whether the hub must not be asked.
        kind: whether it is a model's or a data set's.

    Raises:
        HubError: the files cannot be had.
    """
    closed = local_files_only or is_offline()
    # Of a data set, a part may be in the cache that something else needed.
    if closed or (kind == "model" and is_commit(revision)):
        folder = cached(name, revision, patterns, kind=kind)
        if folder is not None:
            return folder
    if closed:
        why = "local_files_only is set" if local_files_only else "HF_HUB_OFFLINE is set"
        _refuse_offline(name, why)
    try:
        model = ask_hub(name, revision, kind=kind)
    except HubError as error:
        wrong = error.reason == "no_revision"
        folder = None if wrong else cached(name, revision, patterns, kind=kind)
        if folder is None:
            raise
        _LOGGER.warning("%s The files in the cache are used.", error.message)
        return folder
    return download(model, patterns, revision)


def cached(
    name: str, revision: str | None, patterns: Sequence[str], *, kind: Kind = "model"
) -> Path | None:
    """The folder of the cache with a repository's files; None if files are known to be missing."""
    try:
        return Path(
            snapshot_download(
                name,
                repo_type=kind,
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None
    except (HFValidationError, OSError) as error:
        raise _hub_error(name, revision, error) from error


def download(model: HubModel, patterns: Sequence[str], revision: str | None) -> Path:
    """Fetch files of a repository that are not in the cache, and compare their digests.

    A connection that breaks is taken up again where it broke, and one from which nothing comes is
    given up. After a failure, files that were fetched whole stay in the cache.

    Args:
        model: from `ask_hub`.
        patterns: which files, such as `*.json`.
        revision: that `ask_hub` was asked for; the cache remembers at which commit a branch is.

    Raises:
        HubError: the connection breaks for good, a file is not the one that the hub lists, or the
            disk is full.
    """
    listed = model.matching(patterns)
    if not listed:
        raise HubError(
            f"{model.name} has none of the files {', '.join(patterns)}.",
            reason="no_file",
            remedy="Choose a model that is published as safetensors, or another revision.",
        )
    new = [one for one in listed if not is_cached(model, one.name)]
    timeout = float(constants.HF_HUB_ETAG_TIMEOUT)
    # The library lists a thousand files in a request.
    patience = _PATIENCE * timeout + len(model.files) / 1000
    try:
        folder = Path(
            unless_stalled(
                lambda bar: snapshot_download(
                    model.name,
                    repo_type=model.kind,
                    revision=revision,
                    allow_patterns=list(patterns),
                    etag_timeout=timeout,
                    tqdm_class=bar,
                ),
                patience,
            )
        )
    except Exception as error:  # noqa: BLE001 (as above)
        raise _hub_error(model.name, model.revision, error) from error
    if folder.name != model.revision:  # the branch has just moved
        again = ask_hub(model.name, folder.name, kind=model.kind)
        return download(again, patterns, folder.name)
    for one in new:
        if one.sha256 is not None:
            _check(model, folder / one.name, one.sha256)
    return folder


def is_cached(model: HubModel, name: str) -> bool:
    """Whether a file is in the cache, whole."""
    found = try_to_load_from_cache(model.name, name, revision=model.revision, repo_type=model.kind)
    return isinstance(found, str)


def _check(model: HubModel, path: Path, sha256: str) -> None:
    """Compare a fetched file with its listed digest; one that differs leaves the cache."""
    found = digest_files([path])[path.name]
    if found == sha256:
        return
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise HubError(
        f"{path.name} of {model.name} arrived with other bytes than {constants.ENDPOINT} lists: "
        f"SHA-256 {found[:12]}… instead of {sha256[:12]}…. It was removed from the cache.",
        reason="damaged",
        remedy="Try again; if it stays so, what is between you and the hub changes files: a proxy, "
        "or the mirror in HF_ENDPOINT.",
    )


def _refuse_offline(name: str, why: str) -> NoReturn:
    raise HubError(
        f"{name} is not, or not completely, in the cache of the hub {constants.HF_HUB_CACHE}, and "
        f"the hub is not asked, because {why}.",
        reason="not_cached",
        remedy=f"Run `hf download {name}` where there is a network (of a data set, with "
        "`--repo-type dataset`) and copy the cache here; or give the directory that holds it.",
    )


def _hub_error(name: str, revision: str | None, error: Exception) -> HubError:
    hub = constants.ENDPOINT
    if isinstance(error, HubError):
        return error
    if isinstance(error, HFValidationError):
        return HubError(
            f"{name!r} is not the name of a repository on the hub.",
            reason="bad_name",
            remedy="Give owner/name, or the path of a directory that holds the model.",
        )
    if isinstance(error, GatedRepoError):
        return HubError(
            f"{name} is gated: its owner asks for consent before the files can be had.",
            reason="gated",
            remedy=f"Open {hub}/{name}, accept its terms, and log in with `hf auth login` or set "
            "HF_TOKEN.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return HubError(
            f"{hub} has no repository {name} for this user.",
            reason="not_found",
            remedy="Check the name; a private one needs `hf auth login` or HF_TOKEN.",
        )
    if isinstance(error, RevisionNotFoundError):
        return HubError(
            f"{name} has no revision {revision}.",
            reason="no_revision",
            remedy=f"See {hub}/{name}/commits/main for its commits.",
        )
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return HubError(
            f"{name} lacks a file that it lists: {' '.join(str(error).split())[:300]}",
            reason="no_file",
            remedy="If HF_ENDPOINT names a mirror, the mirror is incomplete.",
        )
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return HubError(
            f"The cache of the hub {constants.HF_HUB_CACHE} cannot be used: {error.strerror}.",
            reason="bad_cache",
            remedy="Make room or repair its permissions, or set HF_HOME to another folder.",
        )
    if isinstance(error, OfflineModeIsEnabled):
        return HubError(short(error), reason="not_cached", remedy="Unset HF_HUB_OFFLINE.")
    return _unreachable(name, error)


def _unreachable(name: str, error: Exception) -> HubError:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in {401, 403}:
        return HubError(
            f"{constants.ENDPOINT} refuses {name} (status {status}): the token is not valid or "
            "has no right to it.",
            reason="gated",
            remedy="Log in with `hf auth login` again, or set HF_TOKEN to a token that may read.",
        )
    said = f"status {status}" if status else f"{type(error).__name__}: {short(error)}"
    return HubError(
        f"The hub {constants.ENDPOINT} cannot be reached for {name} ({said}).",
        reason="unreachable",
        remedy="Check the network and the proxy (HTTPS_PROXY), set HF_ENDPOINT to a mirror, or "
        "give a directory that holds the model. `guardalign doctor` says what answers.",
    )
