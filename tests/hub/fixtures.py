from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import huggingface_hub
import open_clip
import pytest

from tests.hub.double import Faults, Hub, Repository
from tests.hub.repositories import NARROW, standard


@pytest.fixture(scope="package")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Repository]:
    """The standard repositories, shared by all tests, which leave them as they are."""
    return standard(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="package")
def _running(published: dict[str, Repository]) -> Iterator[Hub]:
    with Hub(published).running() as hub:
        yield hub


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Send the library to a hub, with an empty cache."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32-quickgelu", deepcopy(NARROW))

    def send_to(endpoint: str) -> None:
        template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    return send_to


@pytest.fixture
def hub(_running: Hub, published: dict[str, Repository], use: Callable[[str], None]) -> Hub:
    """The double, without faults and with an empty cache on this side."""
    _running.repositories = dict(published)
    _running.tokens, _running.faults = set(), Faults()
    _running.requests.clear()
    _running.sent = 0
    use(_running.endpoint)
    return _running
