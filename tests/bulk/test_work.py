"""What is left of a scan: input by input, and file by file for machines that read themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from guardalign_middleware.bulk.entries import Inputs
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.bulk.places import Copies
from guardalign_middleware.bulk.work import Reading, Work
from guardalign_middleware.testing import red_config
from tests.support.bulk import PLAIN, table, tar


class Results:
    """What an earlier scan left."""

    def __init__(self, done: Mapping[str, int]) -> None:
        self._done = done
        self.copies = Copies()

    def status(self, source: str, shard: str | None) -> int | None:
        return self._done.get(source)

    def statuses_in(self, path: str) -> dict[str, int]:
        return {name: self._done[name] for name in self._done if name.startswith(path)}


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    shard = tar(tmp_path / "s.tar", [("a.png", PLAIN), ("b.png", PLAIN)])
    rows = table(tmp_path / "t.parquet", {"image": [PLAIN, None, PLAIN]})
    names = ["x.png", str(shard), "y.png", str(rows), "x.png", str(shard), "z.png"]
    return Inputs(tuple((name, f"place of {name}") for name in names))


def sources(work: Work, readings: list[Reading]) -> list[str]:
    return [
        entry.source
        for reading in readings
        for entry in ([reading.entry] if reading.entry else read(work, reading))
    ]


def read(work: Work, reading: Reading) -> list[Entry]:
    from guardalign_middleware.scale.reading import Task

    (block,) = Task((reading,), work.column, work.job.config.intake).blocks()
    from guardalign_middleware.scale.reading import unpack

    return [entry for _, entry in unpack(block) if isinstance(entry, Entry)]


@pytest.mark.parametrize("resumed", [False, True])
def test_readings_are_the_entries(inputs: Inputs, resumed: bool, tmp_path: Path) -> None:
    done = {"y.png": 1, f"{tmp_path}/s.tar!a.png": 2, f"{tmp_path}/t.parquet#2": 0}
    job = Job(red_config(), overlays=tmp_path)
    by_input, by_file = (
        Work(inputs, job, "image", Results(done) if resumed else None) for _ in range(2)
    )
    entries, readings = list(by_input.entries()), list(by_file.readings())
    assert sources(by_file, readings) == [entry.source for entry in entries]
    assert by_file.statuses == by_input.statuses == ({0, 1, 2} if resumed else set())
    assert by_file.done == (1 if resumed else 0)
    numbers = [entry.number for one in readings for entry in read(by_file, one)]
    assert numbers == [entry.number for entry in entries]


@pytest.mark.parametrize("name", ["s.tar", "t.parquet"])
@pytest.mark.parametrize("repaired", [False, True])
def test_damage_counts_while_it_is_there(
    inputs: Inputs, tmp_path: Path, name: str, repaired: bool
) -> None:
    path = tmp_path / name
    source = f"{path}!" if name == "s.tar" else f"{path}#"
    if not repaired:
        path.write_bytes(path.read_bytes()[:40])
    job, done = Job(red_config()), Results({source: 2})
    by_input, by_file = (Work(inputs, job, "image", done) for _ in range(2))
    entries = [entry.source for entry in by_input.entries()]
    told = [one for one in sources(by_file, list(by_file.readings())) if one != source]
    assert told == entries
    assert by_file.statuses == set()
    if not repaired:
        assert by_file.stands(
            Outcome.of_error(Entry(source, "", shard=str(path)), "It is cut off.")
        )
    assert not by_file.stands(Outcome.of_error(Entry("other.png", ""), "It is cut off."))
    assert by_file.statuses == by_input.statuses == (set() if repaired else {2})


def test_inputs_are_counted_only_for_pictures_of_the_verdicts(inputs: Inputs) -> None:
    work = Work(inputs, Job(red_config()), "image", None)
    assert [reading.number for reading in work.readings()] == [1, 2, 2, 3, 3, 4, 4]
