from __future__ import annotations

import pytest

from tests.hub.double import Repository
from tests.hub.fixtures import _running, hub, use

__all__ = ["_running", "hub", "use"]


@pytest.fixture(scope="package")
def published() -> dict[str, Repository]:
    """No repositories of models are needed here."""
    return {}
