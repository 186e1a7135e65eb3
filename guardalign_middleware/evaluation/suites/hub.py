"""Suites from the Hugging Face hub: fetched into its cache first, and then loaded from there."""

from __future__ import annotations

from pathlib import Path

from guardalign_middleware.errors import HubError, SuiteError
from guardalign_middleware.evaluation.suites.manifest import Manifest
from guardalign_middleware.model_folder.hub import fetch

_ELSEWHERE = frozenset({"not_found", "not_cached"})


def hub_folder(
    manifest: Manifest,
    name: str | None = None,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """Fetch a suite's data set from the hub, and give the folder to load it from.

    The present id is asked for first, and the older ones only where the hub does not know it, or
    the cache does not have it.

    Args:
        manifest: of the suite.
        name: `owner/name` of the data set; None = as the manifest has it.
        revision: commit, tag or branch; None = the newest. Name a commit for a figure.
        local_files_only: whether only the cache is looked into.

    Raises:
        SuiteError: the suite is not on the hub, and no data set is named.
        HubError: the data set is not there, gated, or cannot be reached.
    """
    names = manifest.hub if name is None else (name,)
    if not names:
        raise SuiteError(
            "it is not on the hub.",
            suite=manifest.name,
            remedy=f"Fetch it from {manifest.source}, and name the folder.",
        )
    problem: HubError | None = None
    for one in names:
        try:
            return fetch(one, revision, ["*"], local_files_only=local_files_only, kind="dataset")
        except HubError as error:
            if error.reason not in _ELSEWHERE:
                raise
            problem = problem or error
    assert problem is not None
    raise problem
