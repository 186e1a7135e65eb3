"""Output files: complete or not there, and refused before the work that would be lost."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.writing import DRAFT, NameTooLong, check_target, replaced


def test_what_was_there_stays_until_the_new_file_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "made" / "page.html"
    with replaced(target) as file:
        file.write(b"old")
    with pytest.raises(TypeError), replaced(target) as file:
        file.writelines([b"ne", "w"])  # type: ignore[list-item]
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == ["page.html"]


def test_a_link_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "v1.json").write_text("old")
    link = tmp_path / "profile.json"
    link.symlink_to("v1.json")
    with replaced(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert (tmp_path / "v1.json").read_text() == "new"


def test_a_pipe_is_written_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_target(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    with replaced(pipe) as file:
        file.write(b"all")
    reader.join()
    assert found == [b"all"]
    assert pipe.is_fifo()


def test_what_cannot_be_written_is_said_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path, tmp_path / "file" / "x.json"):
        with pytest.raises(ConfigError, match="Cannot write") as caught:
            check_target(target)
        assert "name another" in caught.value.remedy
    check_target(tmp_path / "new" / "x.json")
    assert os.listdir(tmp_path / "new") == []


def test_a_name_may_have_all_bytes_that_the_file_system_takes(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 127)
    with replaced(target) as file:
        file.write(b"whole")
        (draft,) = tmp_path.iterdir()
        assert DRAFT.fullmatch(draft.name)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    with pytest.raises(NameTooLong, match="shorter name"), replaced(tmp_path / ("é" * 128)):
        pass
    assert target.read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1
