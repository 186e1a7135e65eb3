"""Output files: complete or not there, and refused before the work that would be lost."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.writing import DRAFT, NameTooLong, check_outputs, check_target, replaced


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
    with pytest.raises(NameTooLong, match="shorter file"), replaced(tmp_path / ("é" * 128)):
        pass
    assert target.read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "secret.json"
    target.write_text("old")
    target.chmod(0o600)
    with replaced(target) as file:
        (draft,) = set(tmp_path.iterdir()) - {target}
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        file.write(b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_read_only_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "kept.json"
    target.write_text("old")
    # Root may write all files, whatever their mode.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != target)
    with pytest.raises(ConfigError, match="read-only"):
        check_target(target)
    with pytest.raises(ConfigError, match="read-only"), replaced(target) as file:
        file.write(b"new")
    assert target.read_text() == "old"


def test_a_mounted_file_is_written_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "mounted.json"
    target.write_text("old and longer")
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    monkeypatch.setattr("tempfile.TemporaryFile", None)  # its folder may be read-only
    number = target.stat().st_ino
    check_target(target)
    with replaced(target) as file:
        file.write(b"new")
    assert (target.read_bytes(), target.stat().st_ino) == (b"new", number)


def test_so_is_one_that_only_replacing_finds_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "mounted.json"
    target.write_text("old and longer")

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "replace", busy)
    with replaced(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="has no /dev/stdout")
@pytest.mark.parametrize("linked", [False, True])
def test_standard_output_is_written_where_it_goes(tmp_path: Path, linked: bool) -> None:
    out, link = tmp_path / "all.txt", tmp_path / "link"
    link.symlink_to("/dev/stdout")
    program = """
import sys
from pathlib import Path
from guardalign_middleware.writing import check_target, replaced
print("before", flush=True)
check_target(Path(sys.argv[1]))
with replaced(Path(sys.argv[1])) as file:
    file.write(b"written\\n")
print("after", flush=True)
"""
    name = str(link) if linked else "/dev/stdout"
    with out.open("wb") as file:
        number = out.stat().st_ino
        subprocess.run([sys.executable, "-c", program, name], stdout=file, check=True)
    assert out.read_text() == "before\nwritten\nafter\n"
    assert out.stat().st_ino == number


def test_outputs_and_inputs_are_apart_whatever_they_are_called(tmp_path: Path) -> None:
    there, link, new = tmp_path / "a", tmp_path / "link", tmp_path / "new"
    there.write_text("old")
    link.symlink_to("a")
    check_outputs({"--out": new, "--json": None}, {"an input": [there, "data:,", "a\0b"]})
    check_outputs({"--out": Path(os.devnull), "--json": Path(os.devnull)}, {})
    for outputs, inputs in (
        ({"--out": new, "--json": tmp_path / "b" / ".." / "new"}, []),
        ({"--out": there, "--json": link}, []),
        ({"--json": link}, [there]),
    ):
        with pytest.raises(ConfigError, match="--json names .* would be lost"):
            check_outputs(outputs, {"an input": inputs})
