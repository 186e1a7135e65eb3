"""Copies of earlier scans: which go, and which files stay whatever their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.bulk.copies import remove_parts
from guardalign_middleware.bulk.entries import Inputs, find_inputs
from guardalign_middleware.bulk.job import Outcome
from guardalign_middleware.bulk.old_copies import OldCopies
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"GIF89a")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def outcome(source: Path, place: str, *copies: str | None) -> Outcome:
    records: tuple[dict[str, Any], ...] = tuple({"copy": copy} for copy in copies)
    return Outcome(str(source), records, place=place)


def test_copies_of_any_format_and_of_frames_go(tmp_path: Path) -> None:
    clean, source = tmp_path / "clean", tmp_path / "in" / "a.heic"
    theirs = {"a.heic/b.png", "a.heic.txt", "b.heic.jpg", "a.heic-2.jpg"}
    write(clean, *theirs, "a.heic.jpg", "a.heic.png", "a.heic/1.png", "a.heic/12.webp")
    old = OldCopies(clean, Inputs(((str(source), "a.heic"),)), {})
    old.remove_for(outcome(source, "a.heic", "a.heic/1.png", None))
    assert files(clean) == {*theirs, "a.heic/1.png"}
    old.remove_for(Outcome.of_error(str(source), "no", "a.heic"))
    assert files(clean) == theirs


def test_stems_are_followed(tmp_path: Path) -> None:
    source = tmp_path / "in" / "a.heic"
    write(tmp_path / "clean", "a.heic.jpg", "a.heic-2.jpg")
    old = OldCopies(tmp_path / "clean", Inputs(()), {"a.heic": "a.heic-2"})
    old.remove_for(outcome(source, "a.heic", None))
    assert files(tmp_path / "clean") == {"a.heic.jpg"}


def test_the_copy_of_a_file_beside_stays(tmp_path: Path) -> None:
    """It is no input of this scan, and its copy has a name that one of this input could have."""
    write(tmp_path / "in", "a.heic", "a.heic.jpg")
    write(tmp_path / "clean", "a.heic.jpg", "a.heic.png")
    old = OldCopies(tmp_path / "clean", Inputs(()), {})
    old.remove_for(outcome(tmp_path / "in" / "a.heic", "a.heic", None))
    assert files(tmp_path / "clean") == {"a.heic.jpg"}


@pytest.mark.parametrize("below", ["", "below", "link"])
def test_originals_stay(tmp_path: Path, below: str) -> None:
    """The folder of copies is that of the originals, or inside it, by whatever name."""
    folder = tmp_path / "in"
    names = {"a.png", "a.png.jpg", "b.heic", "below/a.png", "below/b.heic.jpg"}
    write(folder, *names)
    (tmp_path / "in" / "link").symlink_to(folder)
    inputs = find_inputs([str(folder)], [], IntakePolicy())
    old = OldCopies(folder / below, inputs, {"a.png": "a.png-2"})
    for source, place in inputs.files:
        old.remove_for(outcome(Path(source), place, None))
        old.remove_at(place)
    assert files(folder) == names


def test_parts_of_another_scan_go(tmp_path: Path) -> None:
    write(tmp_path, "s.tar.parts/0", "s.tar.parts/.12.345", "t.tar.parts/0", "u.tar.parts/0")
    inputs = Inputs((("/s.tar", "s.tar"), ("/t.tar", "t.tar"), ("a.png", "a.png")))
    old = OldCopies(tmp_path, inputs, {})
    old.remove_parts(kept={"t.tar": "/t.tar"})
    assert files(tmp_path) == {"t.tar.parts/0", "u.tar.parts/0"}
    assert not (tmp_path / "s.tar.parts").exists()
    write(tmp_path, "t.tar.parts/1", "t.tar.parts.jpg")
    old.remove_for(outcome(Path("/t.tar!b.png"), "t.tar.parts/1", None))
    old.remove_for(Outcome.of_error("/t.tar!", "cut off", "t.tar.parts"))
    assert files(tmp_path) == {"t.tar.parts/0", "u.tar.parts/0", "t.tar.parts.jpg"}


def test_other_files_in_a_folder_of_parts_stay(tmp_path: Path) -> None:
    write(tmp_path, "s.tar.parts/0", "s.tar.parts/notes.txt", "s.tar.parts/0.png")
    remove_parts(tmp_path / "s.tar")
    assert files(tmp_path) == {"s.tar.parts/notes.txt", "s.tar.parts/0.png"}


def test_what_cannot_be_removed_ends_the_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(tmp_path / "clean", "a.png")
    monkeypatch.setattr(Path, "unlink", refused)
    old = OldCopies(tmp_path / "clean", Inputs(()), {})
    with pytest.raises(ConfigError, match=r"Cannot remove .*a\.png.*: Permission denied"):
        old.remove_for(outcome(tmp_path / "a.png", "a.png", None))
