"""How `guardalign scan` expands paths and describes verdicts; tests/test_cli.py runs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from guardalign_middleware.cli.scan import describe, expand
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.types import Region
from tests.support.verdicts import make_verdict, plain_image


def touched(*files: Path) -> list[str]:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return [str(file) for file in files]


def test_a_folder_is_all_images_in_it_and_below_by_their_names(tmp_path: Path) -> None:
    images = touched(tmp_path / "a.png", tmp_path / "b" / "c" / "d.JPG", tmp_path / "e.heic")
    touched(tmp_path / "notes.txt", tmp_path / "b" / "noname")
    (tmp_path / "folder.png").mkdir()
    os.symlink(tmp_path, tmp_path / "b" / "again")
    os.symlink("loop.png", tmp_path / "loop.png")
    assert expand(str(tmp_path)) == sorted([*images, str(tmp_path / "loop.png")])


@pytest.mark.parametrize("name", ["missing.png", "loop.png", "x" * 300, "a\0b", "data:image/png,x"])
def test_anything_but_a_folder_is_itself(tmp_path: Path, name: str) -> None:
    os.symlink("loop.png", tmp_path / "loop.png")
    path = name if name.startswith("data:") else f"{tmp_path}/{name}"
    assert expand(path) == [path]


def test_a_folder_without_images_and_an_empty_path_are_errors(tmp_path: Path) -> None:
    touched(tmp_path / "notes.txt")
    with pytest.raises(ImageRejected, match="contains no image file"):
        expand(str(tmp_path))
    with pytest.raises(ImageRejected, match="path is empty"):
        expand("")


@pytest.mark.parametrize("closed", ["", "below"])
def test_a_folder_that_cannot_be_read_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    """Simulated, because permissions do not stop tests that run as root."""
    touched(tmp_path / "a.png", tmp_path / "below" / "b.png")
    scandir: Callable[[Any], Any] = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path) == tmp_path / closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(ImageRejected, match=r"cannot be read \(Permission denied\)") as caught:
        expand(str(tmp_path))
    assert caught.value.reason == "unreadable"


def test_a_line_marks_what_is_only_reported() -> None:
    verdict = make_verdict(plain_image(), [(1, 2, 10, 12)])
    reported = Region((20, 5, 30, 15), "drug", 0.35, 0.7, "flag")
    line = Text.from_markup(describe(replace(verdict, regions=(*verdict.regions, reported)))).plain
    assert line == (
        "mask  test.png  weapon 0.300 <= 0.400  "
        "weapon at (1, 2, 10, 12), drug at (20, 5, 30, 15) (only reported)"
    )
