from __future__ import annotations

import os
from pathlib import Path

import pytest

from guardalign_middleware.strict import Malformed, is_folder, is_regular, read_bytes


def test_a_file_of_the_cap_is_read_and_a_larger_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_bytes(file, 5) == b"12345"
    with pytest.raises(Malformed, match="more than 4 bytes"):
        read_bytes(file, 4)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Malformed, match="not a regular file"):
        read_bytes(tmp_path / "pipe")


@pytest.mark.parametrize("path", ["/dev/zero", "/", "nowhere", "a\0b", "a" * 5000, ""])
def test_what_is_no_file_is_one_error(path: str) -> None:
    with pytest.raises(Malformed):
        read_bytes(path)


@pytest.mark.parametrize("path", ["nowhere", "a\0b", "a" * 5000])
def test_a_path_that_no_file_system_takes_is_not_there(path: str) -> None:
    assert not is_folder(path)
    assert not is_regular(path)
