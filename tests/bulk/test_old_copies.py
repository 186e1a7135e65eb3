"""Copies of earlier scans that stand where this one lets nothing through are named, and stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import Outcome
from guardalign_middleware.bulk.old_copies import old_copies


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"GIF89a")


def named(folder: Path, outcome: Outcome, stems: dict[str, str] | None = None) -> set[str]:
    return {str(path.relative_to(folder)) for path in old_copies(folder, outcome, stems or {})}


def outcome(source: Path, place: str | None, *copies: str | None) -> Outcome:
    records: tuple[dict[str, Any], ...] = tuple({"copy": copy} for copy in copies)
    return Outcome(str(source), records, place=place)


def test_copies_of_any_format_and_of_frames_are_named(tmp_path: Path) -> None:
    source = tmp_path / "in" / "a.heic"
    write(tmp_path, "a.heic.jpg", "a.heic.png", "a.heic.txt", "b.heic.jpg", "a.heic-2.jpg")
    write(tmp_path, "a.heic/1.png", "a.heic/2.webp")
    left = {"a.heic.jpg", "a.heic.png", "a.heic"}
    assert named(tmp_path, outcome(source, "a.heic", None, None)) == left
    assert named(tmp_path, Outcome.of_error(Entry(str(source), "a.heic"), "no")) == left
    assert named(tmp_path, outcome(source, "a.heic", "a.heic/1.png", None)) == {"a.heic/2.webp"}
    assert named(tmp_path, outcome(source, "a.heic", "a.heic.jpg")) == set()
    assert named(tmp_path, outcome(source, None, None)) == set()


def test_stems_are_followed(tmp_path: Path) -> None:
    write(tmp_path, "a.heic.jpg", "a.heic-2.jpg")
    blocked = outcome(tmp_path / "in" / "a.heic", "a.heic", None)
    assert named(tmp_path, blocked, {"a.heic": "a.heic-2"}) == {"a.heic-2.jpg"}


def test_the_input_is_no_copy_of_itself(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    (tmp_path / "link").symlink_to(tmp_path)
    blocked = outcome(tmp_path / "a.png", "a.png", None)
    assert named(tmp_path, blocked) == set()
    assert not list(old_copies(tmp_path / "link", blocked, {}))


def test_a_name_that_is_too_long_for_another_ending_is_no_fault(tmp_path: Path) -> None:
    assert named(tmp_path, outcome(tmp_path / "in", "x" * 252, None)) == set()
