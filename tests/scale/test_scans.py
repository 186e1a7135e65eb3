"""What ends a scan on a cluster; scans themselves need Ray: tests/scale/cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.errors import ConfigError, GuardAlignError, GuardError
from guardalign_middleware.scale.engine import Actors
from guardalign_middleware.scale.scans import RayScans, _blocks
from guardalign_middleware.testing import red_config


class RayError(Exception):
    """As Ray's, with the error of the other process."""

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class Failing:
    """A dataset whose blocks cannot be had."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def iter_batches(self, **_: Any) -> Iterator[Any]:
        yield "a block"
        raise self._error


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = ModuleType("ray.exceptions")
    exceptions.RayError = RayError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)


def ended_by(error: Exception) -> GuardAlignError:
    blocks = _blocks(Failing(error))
    assert next(blocks) == "a block"
    with pytest.raises(GuardAlignError) as caught:
        next(blocks)
    return caught.value


def test_the_guards_own_error_ends_the_scan_as_it_is() -> None:
    own = ConfigError("The table has no column 'picture'.", remedy="Name it with --column.")
    assert ended_by(RayError("a reader failed", RayError("UserCode", own))) is own


def test_any_other_error_is_that_of_the_cluster() -> None:
    error = ended_by(RayError("a trace\nThe node died."))
    assert isinstance(error, GuardError)
    assert "The cluster gave up: The node died." in str(error)


def test_a_guard_that_observes_needs_no_profile() -> None:
    scans = RayScans(None, Job(red_config(mode="observe")), Actors())
    scans._check(Outcome("a", ({"source": "a", "decision": "observe", "profile": None},)))
    with pytest.raises(ConfigError, match="another threshold profile"):
        scans._check(Outcome("a", ({"source": "a", "decision": "observe", "profile": "0"},)))
