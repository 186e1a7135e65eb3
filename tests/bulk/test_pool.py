"""Several processes: the order of results, and what becomes of inputs whose process dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from guardalign_middleware.bulk import pool
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import DeviceLost, Job, Outcome
from guardalign_middleware.bulk.pool import WorkerPool
from guardalign_middleware.errors import AuditError, ConfigError
from guardalign_middleware.testing import red_config
from tests.support.dying import prepare

JOB = Job(red_config())


@pytest.fixture(autouse=True)
def _without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_prepare", prepare)


def entries(*sources: str) -> Iterator[Entry]:
    return (Entry(source, source) for source in sources)


def test_results_come_in_order_whoever_dies_and_memory_is_bounded(tmp_path: Path) -> None:
    sources = [f"{number}" for number in range(30)]
    sources[3], sources[4], sources[20] = "poison", f"once {tmp_path}/died", "poison"
    asked: list[str] = []

    def reading() -> Iterator[Entry]:
        for entry in entries(*sources):
            asked.append(entry.source)
            yield entry

    with WorkerPool(JOB, 2) as workers:
        found = []
        for outcome in workers.outcomes(reading()):
            found.append(outcome)
            assert len(asked) <= len(found) + 8
    assert [outcome.source for outcome in found] == sources
    assert [outcome.source for outcome in found if outcome.error] == ["poison", "poison"]
    assert found[3].error is not None
    assert "died, twice" in found[3].error
    processes = {one.records[0]["process"] for one in found if one.error is None}
    assert len(processes) > 1
    assert os.getpid() not in processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_what_is_no_inputs_fault_ends_the_scan() -> None:
    with WorkerPool(JOB, 1) as workers:
        results = workers.outcomes(entries("1", "unrecorded", "2"))
        assert next(results).source == "1"
        with pytest.raises(AuditError, match="cannot be recorded"):
            next(results)


def test_a_guard_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Make another one"):
        WorkerPool(Job(red_config(), overlays=tmp_path), 1)


class TestLostTasks:
    """A process that ends takes all of its tasks with it, and they are begun again once."""

    def test_those_that_learn_of_it_late_are_no_death_of_their_own(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pool, "_Worker", DyingOnce)
        workers = WorkerPool(JOB, 1)
        found = list(workers.outcomes(entries("1", "2", "3", "4")))
        assert [outcome.source for outcome in found] == ["1", "2", "3", "4"]
        assert not any(outcome.error for outcome in found)
        (worker,) = workers._workers
        assert isinstance(worker, DyingOnce)
        assert worker.restarts == 1

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_process_without_its_accelerator_is_replaced_once(
        self, tmp_path: Path, times: int
    ) -> None:
        names = ["1", f"lost {times} {tmp_path}/lost", "2", "3"]
        found = []
        with WorkerPool(JOB, 1) as workers:
            if times == 2:
                with pytest.raises(DeviceLost):
                    found += workers.outcomes(entries(*names))
                return
            found += workers.outcomes(entries(*names))
        assert [outcome.source for outcome in found] == names
        assert not any(outcome.error for outcome in found)
        assert len({outcome.records[0]["process"] for outcome in found}) == 2


class DyingOnce:
    """A process that dies of its first task, whose executor tells the others only as it ends."""

    def __init__(self, job: Job) -> None:
        self.executor = self
        self.restarts = 0
        self._waiting: list[Future[Outcome]] = []

    def submit(self, scan: object, entry: Entry) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        if self.restarts == 0:
            self._waiting.append(future)
            if len(self._waiting) == 1:
                future.set_exception(BrokenProcessPool())
        else:
            future.set_result(Outcome(entry.source, ({"decision": "allow"},)))
        return future

    def restart(self) -> None:
        _, told, cancelled, late = self._waiting
        told.set_exception(BrokenProcessPool())
        cancelled.cancel()
        late.set_exception(BrokenProcessPool())
        self.restarts += 1

    def ready(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def load(self, tasks: object) -> int:
        return 0
