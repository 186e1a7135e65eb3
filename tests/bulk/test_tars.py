"""What of an archive is scanned, what is only named, and what its cleaned copy holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardalign_middleware.bulk.folders import Skipped
from guardalign_middleware.bulk.tars import assemble_tar, tar_entries
from guardalign_middleware.config import IntakePolicy
from tests.support.bulk import PLAIN, members, tar
from tests.support.pictures import encode, gradient

PAGES = IntakePolicy(pdf="pages")
MADE = [
    ("a.png", PLAIN),
    ("a.txt", b"a caption"),
    ("report.pdf", b"%PDF-1.7"),
    ("attachment", b"\n%PDF-1.7"),
    ("favicon", encode(gradient(), "ICO")),
]


@pytest.mark.parametrize("policy", [IntakePolicy(), PAGES])
def test_a_member_is_what_the_same_file_in_a_folder_is(
    tmp_path: Path, policy: IntakePolicy
) -> None:
    path, skipped = tar(tmp_path / "shard.tar", MADE), Skipped()
    entries = list(tar_entries(str(path), "place", policy, lambda source: False, skipped.add))
    pdfs = ["report.pdf", "attachment"]
    pages = pdfs if policy is PAGES else []
    assert [entry.source for entry in entries] == [f"{path}!{name}" for name in ["a.png", *pages]]
    lines = [line.replace(f"{path}!", "") for line in skipped.lines()]
    assert lines[:2] == [
        "skipped 1 (not pictures): a.txt",
        "skipped 1 (pictures in formats that no model takes, such as icons): favicon",
    ]
    assert [line.partition("): ")[2] for line in lines[2:]] == ([] if pages else [", ".join(pdfs)])


@pytest.mark.parametrize("policy", [IntakePolicy(), PAGES])
def test_no_picture_gets_into_the_copy_unread(tmp_path: Path, policy: IntakePolicy) -> None:
    path, target = tar(tmp_path / "shard.tar", MADE), tmp_path / "copy.tar"
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "0").write_bytes(PLAIN)
    assemble_tar(str(path), tmp_path / "parts", target, policy)
    assert members(target) == {"a.png": PLAIN, "a.txt": b"a caption"}
