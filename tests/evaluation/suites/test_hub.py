"""Fetching from the hub, of which a double stands in for the library's function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites import hub, suite

MME = suite("mme").manifest


def answered(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://hub.example.org"))


class Hub:
    """Has some data sets, and fails for all others."""

    def __init__(self, known: dict[str, Path], error: Exception) -> None:
        self.known, self.error = known, error
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, **options: Any) -> str:
        self.asked.append((name, options))
        if name in self.known:
            return str(self.known[name])
        raise self.error


def fetch(monkeypatch: pytest.MonkeyPatch, double: Hub, **options: Any) -> Path:
    monkeypatch.setattr(hub, "snapshot_download", double)
    return hub.hub_folder(MME, **options)


def test_the_present_id_is_asked_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    double = Hub({"lmms-lab-encoder/MME": tmp_path}, ValueError())
    assert fetch(monkeypatch, double, revision="abc", local_files_only=True) == tmp_path
    ((_, options),) = double.asked
    assert options == {"repo_type": "dataset", "revision": "abc", "local_files_only": True}


@pytest.mark.parametrize(
    "error", [RepositoryNotFoundError("no", response=answered(404)), LocalEntryNotFoundError("no")]
)
def test_then_the_older_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    double = Hub({"lmms-lab/MME": tmp_path}, error)
    assert fetch(monkeypatch, double) == tmp_path
    assert [name for name, _ in double.asked] == list(MME.hub)


@pytest.mark.parametrize(
    ("error", "named", "asked"),
    [
        (RepositoryNotFoundError("no", response=answered(404)), "RepositoryNotFoundError", 2),
        (GatedRepoError("no", response=answered(403)), "MME is gated. Accept its terms", 1),
        (RevisionNotFoundError("no", response=answered(404)), "no revision None", 1),
        (HfHubHTTPError("no", response=answered(500)), "cannot be fetched: HfHubHTTPError", 1),
        (ConnectionError("no"), "cannot be fetched: ConnectionError", 1),
    ],
)
def test_a_fault_is_named(
    monkeypatch: pytest.MonkeyPatch, error: Exception, named: str, asked: int
) -> None:
    double = Hub({}, error)
    with pytest.raises(SuiteError, match=f"mme: .*{named}"):
        fetch(monkeypatch, double)
    assert len(double.asked) == asked


def test_a_suite_that_is_elsewhere_says_where() -> None:
    with pytest.raises(SuiteError, match="not on the hub. Fetch it from github.com/ThuCCSLab"):
        hub.hub_folder(suite("figstep").manifest)
