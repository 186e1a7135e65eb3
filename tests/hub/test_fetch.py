"""The way to the hub: what it gives, what goes wrong, and how soon that is said."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest

from guardalign_middleware.errors import HubError
from guardalign_middleware.model_folder import hub as way
from guardalign_middleware.model_folder.hub import ask_hub, cached, fetch
from tests.hub.double import HOSTS, Hub, digest
from tests.hub.repositories import CLIP, LLAVA

pytestmark = pytest.mark.allow_hosts([*HOSTS])
WEIGHTS = "open_clip_model.safetensors"
NOWHERE = "http://127.0.0.1:9"


def failure(reason: str, name: str = CLIP, revision: str | None = None, **more: bool) -> HubError:
    with pytest.raises(HubError) as caught:
        fetch(name, revision, ("*.json", WEIGHTS), **more)
    assert caught.value.reason == reason
    assert caught.value.remedy
    return caught.value


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the library would have slept before it tries again."""
    slept: list[float] = []
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", slept.append)
    return slept


class TestFound:
    def test_the_hub_says_revision_licence_sizes_and_digests(self, hub: Hub) -> None:
        model = ask_hub(CLIP)
        repository = hub.repositories[CLIP]
        assert (model.revision, model.licence, model.gated) == (repository.commit, "mit", False)
        (weights,) = model.matching((WEIGHTS,))
        path = repository.folder / WEIGHTS
        assert (weights.size, weights.sha256) == (path.stat().st_size, digest(path))
        assert len(hub.requests) == 1

    def test_only_what_is_asked_for_is_fetched(self, hub: Hub) -> None:
        folder = fetch(CLIP, None, ("open_clip_config.json", WEIGHTS))
        assert folder.name == hub.repositories[CLIP].commit
        assert {path.name for path in folder.iterdir()} == {"open_clip_config.json", WEIGHTS}
        assert (folder / WEIGHTS).read_bytes() == (
            hub.repositories[CLIP].folder / WEIGHTS
        ).read_bytes()

    def test_a_commit_that_is_in_the_cache_needs_no_hub(self, hub: Hub) -> None:
        commit = hub.repositories[CLIP].commit
        first = fetch(CLIP, commit, (WEIGHTS,))
        hub.requests.clear()
        assert fetch(CLIP, commit, (WEIGHTS,)) == first
        assert not hub.requests

    def test_a_file_that_the_cache_lacks_is_fetched_later(self, hub: Hub) -> None:
        commit = hub.repositories[CLIP].commit
        fetch(CLIP, commit, ("*.json",))
        folder = fetch(CLIP, commit, ("*.json", WEIGHTS))
        assert (folder / WEIGHTS).is_file()

    def test_a_branch_that_moved_is_followed(self, hub: Hub, tmp_path: Path) -> None:
        old = fetch(CLIP, "main", (WEIGHTS,))
        newer = Path(shutil.copytree(hub.repositories[CLIP].folder, tmp_path / "newer"))
        (newer / "README.md").write_text("changed")
        hub.repositories[CLIP] = type(hub.repositories[CLIP])(newer, "mit")
        assert fetch(CLIP, "main", (WEIGHTS,)).name == hub.repositories[CLIP].commit != old.name

    def test_a_mirror_below_a_path_serves_as_well(
        self, hub: Hub, use: Callable[[str], None]
    ) -> None:
        with Hub(hub.repositories, prefix="/proxy/hf").running() as mirror:
            use(mirror.endpoint)
            assert (fetch(CLIP, None, (WEIGHTS,)) / WEIGHTS).is_file()
            assert all("/proxy/hf/" in one for one in mirror.requests)
        assert not hub.requests


class TestRefused:
    def test_a_repository_that_is_not_there(self, hub: Hub) -> None:
        assert "owner/none" in str(failure("not_found", "owner/none"))

    def test_a_name_that_is_none(self, hub: Hub) -> None:
        failure("bad_name", "three/parts/long")
        assert not hub.requests

    def test_a_revision_that_is_not_there(self, hub: Hub) -> None:
        assert "abc123" in str(failure("no_revision", revision="abc123"))

    def test_a_gated_repository_without_consent_and_with_it(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gated = dataclasses.replace(hub.repositories[CLIP], gated=True)
        hub.repositories[CLIP] = gated
        assert ask_hub(CLIP).gated
        error = failure("gated")
        assert f"{hub.endpoint}/{CLIP}" in error.remedy
        monkeypatch.setenv("HF_TOKEN", "hf_other")
        failure("gated")
        hub.tokens.add("hf_mine")
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        assert (fetch(CLIP, None, (WEIGHTS,)) / WEIGHTS).is_file()
        assert not hub.leaked  # the store of the files needs no login

    def test_a_listed_file_that_cannot_be_had(self, hub: Hub) -> None:
        hub.faults.missing.add(WEIGHTS)
        assert WEIGHTS in str(failure("no_file"))


class TestUnreachable:
    def test_a_hub_that_is_down_is_said_at_once(self, hub: Hub, asleep: list[float]) -> None:
        hub.faults.refused = 503
        assert "status 503" in str(failure("unreachable"))
        assert len(hub.requests) == 1
        assert not asleep

    @pytest.mark.usefixtures("hub")
    def test_a_port_where_nobody_listens_is_said_at_once(
        self, use: Callable[[str], None], asleep: list[float]
    ) -> None:
        use(NOWHERE)
        error = failure("unreachable")
        assert NOWHERE in str(error)
        assert "HF_ENDPOINT" in error.remedy
        assert not asleep

    def test_a_hub_that_says_nothing_is_left_after_the_time_to_wait(
        self, hub: Hub, asleep: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
        hub.faults.silent = 3.0
        assert "Timeout" in str(failure("unreachable"))
        hub.faults.silent = 0.0
        assert not asleep

    def test_a_hub_that_does_not_list_its_files_is_left_as_well(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(way, "_PATIENCE", 0.05)
        hub.faults.unlisted = 30.0
        assert "nothing came" in str(failure("unreachable"))

    def test_what_answers_is_no_hub(self, hub: Hub, use: Callable[[str], None]) -> None:
        use(f"{hub.endpoint}/nothing/here")
        failure("unreachable")

    def test_the_cache_serves_while_the_hub_is_down(
        self, hub: Hub, asleep: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = fetch(CLIP, None, (WEIGHTS,))
        hub.faults.refused = 503
        with caplog.at_level(logging.WARNING, way.__name__):
            assert fetch(CLIP, None, (WEIGHTS,)) == folder
        assert "The files in the cache are used." in caplog.text
        # A cache that lacks a file serves nothing.
        failure("unreachable")
        assert not asleep


class TestOffline:
    def test_the_cache_alone_serves(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = fetch(CLIP, None, (WEIGHTS,))
        hub.requests.clear()
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        assert fetch(CLIP, None, (WEIGHTS,)) == folder
        assert "HF_HUB_OFFLINE" in str(failure("not_cached"))
        assert "HF_HUB_OFFLINE" in str(failure("not_cached", LLAVA))
        with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
            ask_hub(CLIP)
        assert not hub.requests

    def test_local_files_only_asks_nobody(self, hub: Hub) -> None:
        assert "local_files_only" in str(failure("not_cached", local_files_only=True))
        assert not hub.requests


class TestBroken:
    def test_a_connection_that_breaks_is_taken_up_where_it_broke(
        self, hub: Hub, asleep: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        hub.faults.cut[WEIGHTS] = 500_000
        folder = fetch(CLIP, None, (WEIGHTS,))
        assert hub.sent == (folder / WEIGHTS).stat().st_size  # no byte twice
        assert asleep == [1]

    def test_what_was_fetched_whole_is_not_fetched_again(
        self, hub: Hub, asleep: list[float]
    ) -> None:
        hub.faults.missing.add(WEIGHTS)
        failure("no_file")
        hub.faults.missing.clear()
        hub.sent = 0
        folder = fetch(CLIP, None, ("*.json", WEIGHTS))
        assert hub.sent == (folder / WEIGHTS).stat().st_size

    def test_other_bytes_than_the_hub_lists_are_refused_and_do_not_stay(self, hub: Hub) -> None:
        hub.faults.wrong.add(WEIGHTS)
        assert WEIGHTS in str(failure("damaged"))
        assert cached(CLIP, hub.repositories[CLIP].commit, (WEIGHTS,)) is None
        hub.faults.wrong.clear()
        assert (fetch(CLIP, None, (WEIGHTS,)) / WEIGHTS).is_file()

    def test_a_cache_that_cannot_be_written_is_named(
        self, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        cache = str(tmp_path / "file" / "cache")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", cache)
        assert cache in str(failure("bad_cache"))
