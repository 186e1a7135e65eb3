"""Reading on other machines: bounded blocks, and no file that ends a job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.folders import Skipped
from guardalign_middleware.bulk.work import Reading
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.scale import reading
from guardalign_middleware.scale.reading import Task, enter, tasks, unpack
from tests.support.bulk import PLAIN, tar

POLICY = IntakePolicy()


def of(path: Path | str, number: int = 1, **fields: object) -> Reading:
    return Reading((str(path), "place"), number, **fields)  # type: ignore[arg-type]


def entries(task: Task) -> list[tuple[str | None, Entry]]:
    return [
        (shard, one)
        for block in task.blocks()
        for shard, one in unpack(block)
        if isinstance(one, Entry)
    ]


def test_what_cannot_be_read_is_left_to_the_guard(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(PLAIN)
    (tmp_path / "large.png").write_bytes(PLAIN)
    names = [tmp_path / name for name in ("good.png", "missing.png", ".")]
    found = entries(Task(tuple(map(of, names)), "image", POLICY))
    assert [(shard, entry.data) for shard, entry in found] == [
        (None, PLAIN),
        (None, None),
        (None, None),
    ]
    small = IntakePolicy(max_bytes=len(PLAIN) - 1)
    ((_, entry),) = entries(Task((of(tmp_path / "large.png"),), "image", small))
    assert entry.data is None


def test_members_keep_their_position_and_those_done_are_left_out(tmp_path: Path) -> None:
    shard = tar(tmp_path / "s.tar", [(f"{letter}.png", PLAIN) for letter in "abc"])
    done = frozenset({f"{shard}!b.png"})
    found = entries(Task((of(shard, 7, done=done),), "image", POLICY))
    assert [(one, entry.source[-5:], entry.number) for one, entry in found] == [
        (str(shard), "a.png", 7),
        (str(shard), "c.png", 9),
    ]


def test_what_an_archive_has_besides_is_counted(tmp_path: Path) -> None:
    shard = tar(tmp_path / "s.tar", [("a.png", PLAIN), ("a.pdf", b"%PDF-1.7"), ("a.txt", b"a")])
    (block,) = Task((of(shard),), "image", POLICY).blocks()
    *_, (_, skipped) = unpack(block)
    assert isinstance(skipped, Skipped)
    assert [line.split("skipped ")[1][:3] for line in skipped.lines()] == ["1 (", "1 ("]


def test_blocks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 3 * len(PLAIN))
    shard = tar(tmp_path / "s.tar", [(f"{number}.png", PLAIN) for number in range(7)])
    blocks = list(Task((of(shard),), "image", POLICY).blocks())
    assert all(sum(map(len, block)) <= 3 * len(PLAIN) for block in blocks)
    assert sum(map(len, blocks)) == 7


def test_files_are_read_together_and_tables_and_archives_alone() -> None:
    names = [*"abc", "s.tar", *(f"{number}" for number in range(20)), "t.parquet"]
    made = list(tasks(map(of, names), "image", POLICY))
    assert [len(task.readings) for task in made] == [3, 1, 16, 4, 1]
    assert [one.file[0] for task in made for one in task.readings] == names


def test_a_machine_without_the_folder_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    enter("in")
    assert Path.cwd() == tmp_path / "in"
    enter(str(tmp_path / "elsewhere"))
    assert Path.cwd() == tmp_path / "in"


def test_processes_that_read_or_hold_a_guard_load_no_models() -> None:
    # Ray starts many of them, and each would take half a gigabyte.
    names = ("reading", "actor", "rows", "proxy")
    code = "; ".join(f"import guardalign_middleware.scale.{name}" for name in names)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
