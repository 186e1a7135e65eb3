"""Suites of the hub, of which a local double stands in for the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardalign_middleware.errors import ConfigError, HubError, SuiteError
from guardalign_middleware.evaluation.choices import choose_items
from guardalign_middleware.evaluation.suites import hub_folder, suite
from tests.hub.double import HOSTS, Hub, Repository
from tests.support.suites import write_table

MME = suite("mme").manifest
pytestmark = pytest.mark.allow_hosts([*HOSTS])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """MSTS in English, as the hub has it."""
    rows = range(400)
    columns = {
        "case_id": [f"case {row}" for row in rows],
        "hazard_category": ["kind"] * 400,
        "prompt_text": [f"text {row}" for row in rows],
        "prompt_type": ["intention"] * 400,
        "unsafe_image": [0] * 400,
    }
    write_table(tmp_path / "files" / "data" / "english-00000-of-00001.parquet", columns)
    return tmp_path / "files"


def test_the_present_id_is_asked_first_and_then_the_older_one(hub: Hub, files: Path) -> None:
    hub.repositories["lmms-lab/MME"] = Repository(files, dataset=True)
    found = hub_folder(MME)
    assert (found / "data").is_dir()
    asked = [one for one in hub.requests if "/api/datasets/" in one]
    assert "lmms-lab-encoder/MME" in asked[0]
    assert hub_folder(MME, local_files_only=True) == found
    hub.repositories["lmms-lab-encoder/MME"] = Repository(files, dataset=True)
    assert "lmms-lab-encoder" in str(hub_folder(MME))


def test_a_fault_is_named(hub: Hub, files: Path) -> None:
    with pytest.raises(HubError, match="no repository datasets/lmms-lab-encoder/MME"):
        hub_folder(MME)
    with pytest.raises(HubError, match="not, or not completely, in the cache"):
        hub_folder(MME, local_files_only=True)
    hub.repositories["lmms-lab-encoder/MME"] = Repository(files, dataset=True, gated=True)
    with pytest.raises(HubError, match="gated"):
        hub_folder(MME)
    hub.repositories["lmms-lab-encoder/MME"] = Repository(files, dataset=True)
    with pytest.raises(HubError, match="no revision other"):
        hub_folder(MME, revision="other")


def test_a_suite_that_is_elsewhere_says_where() -> None:
    with pytest.raises(SuiteError, match=r"not on the hub\. Fetch it from github.com/ThuCCSLab"):
        hub_folder(suite("figstep").manifest)


def test_data_may_name_a_data_set(hub: Hub, files: Path, tmp_path: Path) -> None:
    hub.repositories["felfri/MSTS"] = Repository(files, dataset=True)
    chosen = choose_items("msts", "hub:felfri/MSTS", None, 3)
    assert [item.prompt for item in chosen.items] == ["text 0", "text 1", "text 2"]
    commit = hub.repositories["felfri/MSTS"].commit
    assert chosen.data == f"hub:felfri/MSTS@{commit}"
    # What a run notes loads the same files, also where the hub is away.
    hub.faults.refused = 503
    assert choose_items("msts", chosen.data, None, 3) == chosen
    with pytest.raises(HubError, match="cannot be reached"):
        choose_items("msts", "hub:me/mirror", None, None)


def test_a_part_that_another_command_fetched_is_completed(hub: Hub, files: Path) -> None:
    (files / "notes.txt").write_text("first")
    repository = Repository(files, dataset=True)
    hub.repositories["felfri/MSTS"] = repository
    from huggingface_hub import snapshot_download

    snapshot_download(
        "felfri/MSTS", repo_type="dataset", revision=repository.commit, allow_patterns=["*.txt"]
    )
    chosen = choose_items("msts", f"hub:felfri/MSTS@{repository.commit}", None, 1)
    assert len(chosen.items) == 1


def test_what_is_not_named_is_said() -> None:
    with pytest.raises(ConfigError, match="--data hub:lmms-lab-encoder/MME"):
        choose_items("mme", None, None, None)
    with pytest.raises(ConfigError, match=r"with --data\."):
        choose_items("figstep", None, None, None)
