"""What an actor holds: a guard that outlives its inputs, and an error that says its own name."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from guardalign_middleware import __version__
from guardalign_middleware.bulk import pool
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.folders import Skipped
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.errors import AuditError, ConfigError
from guardalign_middleware.scale import actor
from guardalign_middleware.scale.actor import Holder, Scan, marked
from guardalign_middleware.scale.reading import PACKED, packed_table
from guardalign_middleware.testing import red_config
from tests.support.dying import prepare


@pytest.fixture(autouse=True)
def _without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_prepare", prepare)


@pytest.mark.evidence
def test_a_poisonous_input_is_an_outcome() -> None:
    entries = [Entry(name, name) for name in ("1", "poison", "2")]
    found = list(Holder(Job(red_config()), __version__).outcomes(entries))
    assert [one.source for one in found] == ["1", "poison", "2"]
    assert [one.error is None for one in found] == [True, False, True]


def test_what_ends_the_loading_is_raised_with_the_first_input(tmp_path: Path) -> None:
    holder = Holder(Job(red_config(), overlays=tmp_path), __version__)
    with pytest.raises(ConfigError, match="Make another one"):
        holder.outcomes([])


def test_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="this program is 0.0.0"):
        Holder(Job(red_config()), "0.0.0").outcomes([])


def test_a_folder_that_other_machines_do_not_see_is_refused(tmp_path: Path) -> None:
    with marked([tmp_path]) as marks:
        (mark,) = marks
        assert mark.parent == tmp_path
        mark.unlink()
        with pytest.raises(ConfigError, match="not the same on all machines"):
            Holder(Job(red_config()), __version__, marks).outcomes([])
    with marked([tmp_path]) as marks:
        assert marks[0].exists()
    assert not list(tmp_path.iterdir())


def test_what_ends_a_scan_comes_after_what_was_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        def __init__(self, *arguments: object) -> None:
            pass

        def outcomes(self, entries: object) -> Iterator[Outcome]:
            yield Outcome("1", ({"source": "1", "decision": "allow"},))
            raise AuditError("It cannot be recorded.", remedy="Make space.")

    monkeypatch.setattr(actor, "Holder", Fails)
    scan = Scan(Job(red_config()), __version__, (), ".")
    read = [Skipped([("s.tar!a.txt", "other")]), Entry("1", "1"), Entry("2", "2")]
    block = packed_table([pickle.dumps(("s.tar", one)) for one in read])
    made = [pickle.loads(one.as_py()) for one in scan(block).column(PACKED)]
    assert [(shard, type(one)) for shard, one in made] == [
        ("s.tar", Skipped),
        ("s.tar", Outcome),
        (None, AuditError),
    ]
    assert str(made[2][1]) == "It cannot be recorded. Make space."
