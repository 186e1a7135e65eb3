"""Pictures in the archives in which authors publish them."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites.archives import ArchiveMember
from tests.support.suites import of_size, write_json, write_pictures

SIZE = 3


def publish_vlsbench(folder: Path) -> Path:
    """The records, and the pictures in an archive as the hub has it."""
    rows = [
        {"instruction_id": n, "instruction": f"text {n}", "image_path": f"imgs/{n}.png",
         "category": "Hate", "sub_category": "x"}
        for n in range(SIZE)
    ]  # fmt: skip
    write_json(folder / "data.json", rows)
    for number in range(SIZE):
        write_pictures([folder / "made" / f"{number}.png"])
        (folder / "made" / f"{number}.png").write_bytes(b"picture %d" % number)
    path = folder / "imgs.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder / "made", "imgs")
    return path


def test_a_tar_archive_is_read_in_place(tmp_path: Path) -> None:
    publish_vlsbench(tmp_path)
    items = of_size("vlsbench", SIZE).load(tmp_path)
    assert [item.read_images() for item in items] == [(b"picture %d" % n,) for n in range(SIZE)]
    assert not (tmp_path / "imgs").exists()


def test_a_folder_of_pictures_comes_first(tmp_path: Path) -> None:
    publish_vlsbench(tmp_path)
    (tmp_path / "made").rename(tmp_path / "imgs")
    (picture,) = of_size("vlsbench", SIZE).load(tmp_path)[0].images
    assert isinstance(picture, Path)


@pytest.mark.parametrize("top", ["images/", ""])
def test_a_zip_archive_is_read_in_place(tmp_path: Path, top: str) -> None:
    rows = [
        {"question_id": n, "image": f"S-{n}.png", "question": "?", "category": "x",
         "safety_warning": "y"}
        for n in range(SIZE)
    ]  # fmt: skip
    write_json(tmp_path / "siuo_gen.json", rows)
    with zipfile.ZipFile(tmp_path / "SIUO-images.zip", "w") as archive:
        for number in range(SIZE - 1):
            archive.writestr(f"{top}S-{number}.png", b"picture %d" % number)
    with pytest.raises(SuiteError, match=r"1 of 3 pictures are missing .* the first is S-2\.png"):
        of_size("siuo", SIZE).load(tmp_path)
    with zipfile.ZipFile(tmp_path / "SIUO-images.zip", "a") as archive:
        archive.writestr(f"{top}S-2.png", b"picture 2")
    items = of_size("siuo", SIZE).load(tmp_path)
    assert [item.read_images() for item in items] == [(b"picture %d" % n,) for n in range(SIZE)]


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    path = publish_vlsbench(tmp_path)
    path.write_bytes(b"no archive")
    with pytest.raises(SuiteError, match="no sound archive: ReadError"):
        of_size("vlsbench", SIZE).load(tmp_path)


def test_an_archive_that_changed_is_noticed(tmp_path: Path) -> None:
    path = publish_vlsbench(tmp_path)
    items = of_size("vlsbench", SIZE).load(tmp_path)
    path.write_bytes(path.read_bytes()[:512])
    with pytest.raises(OSError, match="another file imgs"):
        items[-1].read_images()
    with pytest.raises(OSError, match="no sound file x"):
        ArchiveMember(path, "x", None, 1).read_bytes()
