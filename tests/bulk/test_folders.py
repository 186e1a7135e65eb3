"""What a PATH argument names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.bulk.folders import Skipped, expand, look
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.formats import begins_as_picture
from tests.support.pictures import encode, gradient

POLICY = IntakePolicy()
PAGES = IntakePolicy(pdf="pages")


def touched(*files: Path) -> list[str]:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return [str(file) for file in files]


def test_a_folder_is_all_images_in_it_and_below_by_their_names(tmp_path: Path) -> None:
    images = touched(tmp_path / "a.png", tmp_path / "b" / "c" / "d.JPG", tmp_path / "e.heic")
    touched(tmp_path / "notes.txt", tmp_path / "b" / "noname")
    (tmp_path / "b" / "c" / "picture").write_bytes(encode(gradient()))
    images.append(str(tmp_path / "b" / "c" / "picture"))
    (tmp_path / "folder.png").mkdir()
    os.symlink(tmp_path, tmp_path / "b" / "again")
    os.symlink("loop.png", tmp_path / "loop.png")
    assert expand(str(tmp_path), POLICY) == sorted([*images, str(tmp_path / "loop.png")])


@pytest.mark.parametrize("name", ["missing.png", "loop.png", "x" * 300, "a\0b", "data:image/png,x"])
def test_anything_but_a_folder_is_itself(tmp_path: Path, name: str) -> None:
    os.symlink("loop.png", tmp_path / "loop.png")
    path = name if name.startswith("data:") else f"{tmp_path}/{name}"
    assert expand(path, POLICY) == [path]


def test_a_folder_without_images_and_an_empty_path_are_errors(tmp_path: Path) -> None:
    touched(tmp_path / "notes.txt")
    with pytest.raises(ImageRejected, match="contains no image file"):
        expand(str(tmp_path), POLICY)
    with pytest.raises(ImageRejected, match="path is empty"):
        expand("", POLICY)


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
        expand(str(tmp_path), POLICY)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_picture_is_known_by_its_content(image_format: str) -> None:
    assert begins_as_picture(encode(gradient(), image_format), POLICY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"#define WIDTH 3\n",
        b"P5 is the plan",
        b"%!PS-Adobe",
        b"BM is a short word",
        b"PK\3\4",
        b"GIF",
        b"\x89HDF\r\n",
        bytes(64),
    ],
)
def test_what_only_looks_like_one_to_pillow_is_none(data: bytes) -> None:
    assert not begins_as_picture(data, POLICY)


def test_what_is_skipped_is_counted_and_named(tmp_path: Path) -> None:
    touched(tmp_path / "a.png", tmp_path / "a\x1b[2J.txt", tmp_path / "b" / "c.zip")
    (tmp_path / "report").write_bytes(b"%PDF-1.7")
    for name in ("favicon.ico", "favicon"):
        (tmp_path / name).write_bytes(encode(gradient(), "ICO"))
    (tmp_path / "favicon.png").write_bytes(encode(gradient(), "ICO"))
    os.symlink("gone", tmp_path / "lost")
    os.symlink(tmp_path, tmp_path / "b" / "up")
    os.mkfifo(tmp_path / "pipe")
    found = look(str(tmp_path), POLICY)
    # What claims to be a picture that a model takes could not be scanned.
    assert found.sources == (str(tmp_path / "a.png"), str(tmp_path / "favicon.png"))
    assert [line.replace(f"{tmp_path}/", "") for line in Skipped(found.skipped).lines()] == [
        "skipped 2 (not pictures): a\x1b[2J.txt, b/c.zip",
        "skipped 2 (pictures in formats that no model takes, such as icons): favicon, favicon.ico",
        "skipped 1 (PDF files, scanned where the preset says intake.pdf: pages): report",
        "skipped 2 (links to folders, or to nothing): b/up, lost",
        "skipped 1 (not regular files): pipe",
    ]
    assert str(tmp_path / "report") in look(str(tmp_path), PAGES).sources


def test_of_very_many_only_some_are_named() -> None:
    skipped = Skipped((f"{number}.txt", "other") for number in range(15))
    skipped.update(Skipped((f"{number}.txt", "other") for number in range(15, 1_500)))
    (line,) = skipped.lines()
    assert line.startswith("skipped 1,500 (not pictures): 0.txt, ")
    assert line.endswith(", 19.txt and 1,480 more")


def test_a_file_that_cannot_be_read_is_not_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched(tmp_path / "closed")
    monkeypatch.setattr("builtins.open", _refusing)
    assert look(str(tmp_path), POLICY).sources == (str(tmp_path / "closed"),)


def _refusing(path: object, *arguments: object, **options: object) -> None:
    raise PermissionError(13, "Permission denied", str(path))
