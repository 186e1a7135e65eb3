"""Suites from the Hugging Face hub: fetched into its cache first, and then loaded from there."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites.manifest import Manifest


def hub_folder(
    manifest: Manifest, *, revision: str | None = None, local_files_only: bool = False
) -> Path:
    """Fetch a suite's data set from the hub, and give the folder to load it from.

    The present id is asked for first, and the older ones only where the hub does not know it, or
    the cache does not have it.

    Args:
        manifest: of the suite.
        revision: commit, tag or branch; None = the newest. Name a commit for a figure.
        local_files_only: whether only the cache is looked into.

    Raises:
        SuiteError: it is not on the hub, gated, or cannot be reached.
    """
    if not manifest.hub:
        raise SuiteError(
            "it is not on the hub.",
            suite=manifest.name,
            remedy=f"Fetch it from {manifest.source}, and name the folder.",
        )
    problem: Exception | None = None
    for name in manifest.hub:
        try:
            return Path(
                snapshot_download(
                    name,
                    repo_type="dataset",
                    revision=revision,
                    local_files_only=local_files_only,
                )
            )
        except GatedRepoError as error:  # before its base class, RepositoryNotFoundError
            raise SuiteError(
                f"{name} is gated.",
                suite=manifest.name,
                remedy=f"Accept its terms at https://huggingface.co/datasets/{name}, and log in "
                "with `hf auth login`.",
            ) from error
        except RevisionNotFoundError as error:
            raise SuiteError(
                f"{name} has no revision {revision!r}.",
                suite=manifest.name,
                remedy="Name a commit of the data set.",
            ) from error
        except (RepositoryNotFoundError, LocalEntryNotFoundError) as error:
            problem = problem or error
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise _away(manifest, name, error) from error
    raise _away(manifest, manifest.hub[0], problem) from problem


def _away(manifest: Manifest, name: str, error: Exception | None) -> SuiteError:
    return SuiteError(
        f"{name} cannot be fetched: {type(error).__name__}.",
        suite=manifest.name,
        remedy="Check the network and the login, or download the data set elsewhere and name its "
        "folder.",
    )
