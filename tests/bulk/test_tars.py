"""What of an archive is scanned, what is only named, and what its cleaned copy holds."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from random import Random

import pytest

from guardalign_middleware.bulk.entry import Entry
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
    assemble_tar(str(path), {0: tmp_path / "parts" / "0"}, target, policy)
    assert members(target) == {"a.png": PLAIN, "a.txt": b"a caption"}


def entries_of(path: Path) -> list[Entry]:
    return list(tar_entries(str(path), "place", PAGES, lambda source: False, lambda *_: None))


def damage(path: Path, begin: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[begin : begin + len(data)] = data
    path.write_bytes(content)


def header(name: str, kind: bytes = tarfile.REGTYPE, size: bytes = b"") -> bytes:
    """A header block, with the bytes of its size as they are given."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[:512])
    block[124 : 124 + len(size)] = size
    total = 256 + sum(block[:148]) + sum(block[156:])
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_damaged_archive_is_an_entry_and_a_whole_copy_of_what_is_before(
    tmp_path: Path, ending: str
) -> None:
    made = [(f"{number}.txt", Random(number).randbytes(163_840)) for number in range(8)]
    mode = f"w:{ending[4:]}" if ending != "tar" else "w"
    path, target = tar(tmp_path / f"shard.{ending}", made, mode), tmp_path / f"copy.{ending}"
    # More than a block of gzip or xz, and behind the first one of bzip2, which has 900 kB.
    damage(path, path.stat().st_size * 4 // 5, b"\1" * 200_000)
    (entry,) = entries_of(path)
    assert "cannot be read to its end" in str(entry.error)
    assert "\n" not in str(entry.error)
    why = assemble_tar(str(path), {}, target, PAGES)
    assert f"ends where {path} cannot be read" in str(why)
    kept = list(members(target).items())
    assert kept[:5] == made[:5]
    # Formats find damage late: what lies in it may be changed, but is not cut off.
    whole = [(name, len(data)) for name, data in made]
    assert [(name, len(data)) for name, data in kept] == whole[: len(kept)] != whole


@pytest.mark.parametrize(
    "data",
    [
        header("a.txt", size=b"\xff" * 12),
        header("././@LongLink", tarfile.GNUTYPE_LONGNAME) * 2_000,
        header("a.txt", tarfile.GNUTYPE_SPARSE)[:482] + b"\1" + bytes(29),
        header("a.txt", size=b"0000000001x"),
    ],
    ids=["negative", "nested", "sparse", "no number"],
)
def test_headers_that_lead_nowhere_are_an_entry(tmp_path: Path, data: bytes) -> None:
    path = tar(tmp_path / "shard.tar", [("a.png", PLAIN)])
    end = 512 + -(-len(PLAIN) // 512) * 512
    path.write_bytes(path.read_bytes()[:end] + data)
    first, last = entries_of(path)
    assert (first.error, first.source, last.source) == (None, f"{path}!a.png", f"{path}!")
    assert assemble_tar(str(path), {}, tmp_path / "copy.tar", PAGES) is not None


def test_a_member_of_an_unknown_kind_has_no_data_in_the_copy(tmp_path: Path) -> None:
    """Whatever unpacks the copy could take it for an unscanned picture."""
    path, target = tmp_path / "shard.tar", tmp_path / "copy.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("odd.png", b"Z"), ("a.txt", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, 1_000
            archive.addfile(info, io.BytesIO(bytes(1_000)))
    assert entries_of(path) == []
    assert assemble_tar(str(path), {}, target, PAGES) is None
    assert members(target) == {"odd.png": b"", "a.txt": bytes(1_000)}


def test_keys_that_cannot_be_written_are_left_out(tmp_path: Path) -> None:
    path, target = tmp_path / "shard.tar", tmp_path / "copy.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a.txt")
        info.pax_headers = {"comment": "kept", "key\x41": "x"}
        archive.addfile(info)
    path.write_bytes(path.read_bytes().replace(b"keyA", b"key\xff"))
    assert assemble_tar(str(path), {}, target, PAGES) is None
    with tarfile.open(target) as copy:
        assert copy.getmember("a.txt").pax_headers == {"comment": "kept"}


def device(number: bytes) -> bytes:
    block = bytearray(header("odd", tarfile.CHRTYPE))
    block[329:337] = number
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    return bytes(block)


def timed(path: Path, name: str, data: bytes, time: str) -> bytes:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size, info.pax_headers = len(data), {"mtime": time}
        archive.addfile(info, io.BytesIO(data))
        end = archive.offset
    return path.read_bytes()[:end]


@pytest.mark.parametrize("name", ["odd", "odd.png"])
@pytest.mark.parametrize("time", ["nan", "inf"])
def test_a_time_that_cannot_be_written_is_left_out(tmp_path: Path, time: str, name: str) -> None:
    path, target = tar(tmp_path / "shard.tar", [("a.txt", b"after")]), tmp_path / "copy.tar"
    path.write_bytes(timed(tmp_path / "odd.tar", name, PLAIN, time) + path.read_bytes())
    (tmp_path / "0").write_bytes(PLAIN)
    assert assemble_tar(str(path), {0: tmp_path / "0"}, target, PAGES) is None
    assert members(target) == {name: PLAIN, "a.txt": b"after"}
    with tarfile.open(target) as copy:
        assert copy.getmember(name).mtime == 0


@pytest.mark.parametrize("number", [b"\x80\0\0\0\0\xff\xff\xff", b"\xff" * 8])
def test_a_device_that_cannot_be_written_loses_its_number(tmp_path: Path, number: bytes) -> None:
    path, target = tar(tmp_path / "shard.tar", [("a.txt", b"after")]), tmp_path / "copy.tar"
    path.write_bytes(device(number) + path.read_bytes())
    assert assemble_tar(str(path), {}, target, PAGES) is None
    assert members(target) == {"a.txt": b"after"}
    with tarfile.open(target) as copy:
        odd = copy.getmember("odd")
        assert (odd.type, odd.devmajor, odd.devminor) == (tarfile.CHRTYPE, 0, 0)


def test_an_archive_that_is_not_there_has_no_copy(tmp_path: Path) -> None:
    path, target = tmp_path / "missing.tar", tmp_path / "copy.tar"
    assert "There is no copy" in str(assemble_tar(str(path), {}, target, PAGES))
    assert not target.exists()
