"""`guardalign scan` over tables, archives, patterns and lists, and its cleaned copies."""

from __future__ import annotations

import base64
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from guardalign_middleware import ConfigError, GuardAlignConfig, ImageGuard
from guardalign_middleware.bulk.tables import write_table
from guardalign_middleware.cli.scan import ScanOptions, run_scan
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.testing import picture, red_config, red_guard
from guardalign_middleware.testing.pdf import ALL_RED_PAGE, drawn_pdf
from tests.support.animations import animation
from tests.support.bulk import PLAIN, UNSAFE, is_red, members, table, tar
from tests.support.pictures import encode

Scan = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scan:
    """Scan with a guard that finds red, and return the status and the results."""
    guard = red_guard(red_config())
    monkeypatch.setattr(ImageGuard, "from_config", lambda config: guard)

    def scanned(
        *paths: object, lists: Sequence[Path] = (), **options: Any
    ) -> tuple[int, list[dict[str, Any]]]:
        results = tmp_path / "results.jsonl"
        status = run_scan(
            [str(path) for path in paths], lists, ScanOptions(resume=results, **options)
        )
        return status, [json.loads(line) for line in results.read_text().splitlines()]

    return scanned


def noise(seed: int) -> bytes:
    """A picture that cannot be compressed."""
    pixels = np.random.default_rng(seed).integers(0, 90, (64, 64, 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels))


def told(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The decision, or that there is an error, by what follows the last slash of the source."""
    return {row["source"].rsplit("/", 1)[1]: row.get("decision", "error") for row in rows}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    made = [("a.png", PLAIN), ("a.txt", b"a caption"), ("b.png", UNSAFE), ("c.png", b"damaged")]
    return tar(tmp_path / "shard.tar", [*made, ("b.png", PLAIN), ("no suffix", PLAIN)])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    images = [{"bytes": data, "path": None} for data in (PLAIN, UNSAFE, b"damaged", None)]
    return table(tmp_path / "rows.parquet", {"image": images, "caption": list("abcd")})


def test_an_archive(scan: Scan, shard: Path) -> None:
    status, found = scan(shard)
    assert status == 2
    assert told(found) == {
        "shard.tar!a.png": "allow",
        "shard.tar!b.png": "mask",
        "shard.tar!c.png": "error",
        "shard.tar!b.png#2": "allow",
        "shard.tar!no suffix": "allow",
    }
    assert all(len(row["sha256"]) == 64 for row in found if "error" not in row)


def test_a_table(scan: Scan, rows: Path) -> None:
    status, found = scan(rows)
    assert status == 2
    assert told(found) == {
        "rows.parquet#0": "allow",
        "rows.parquet#1": "mask",
        "rows.parquet#2": "error",
    }


@pytest.mark.parametrize("column", ["caption", "other"])
def test_a_table_without_such_a_column(scan: Scan, rows: Path, column: str) -> None:
    with pytest.raises(ConfigError, match=f"no column '{column}' of image files; it has image"):
        scan(rows, column=column)


@pytest.mark.parametrize("damaged", [False, True])
def test_results_of_another_column_are_not_taken_over(
    scan: Scan, tmp_path: Path, damaged: bool
) -> None:
    columns = {"image": [PLAIN] * 2, "a thumb": [UNSAFE] * 2}
    path, file = table(tmp_path / "t.parquet", columns), tmp_path / "results.jsonl"
    (tmp_path / "a.png").write_bytes(PLAIN)
    if damaged:
        path.write_bytes(path.read_bytes()[:-50])
    status, found = scan(path)
    assert status == (2 if damaged else 0)
    assert {row["column"] for row in found} == {"image"}
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="column 'image' of tables") as caught:
        scan(path, column="a thumb")
    assert "Give --column image, or name another file with --resume" in str(caught.value)
    assert file.read_bytes() == before
    # Where no table is named, the option says nothing.
    assert scan(tmp_path / "a.png", column="a thumb")[0] == 0


def test_patterns_and_lists(scan: Scan, tmp_path: Path) -> None:
    for name in ("a/1.png", "a/b/2.png", "[odd].png", "listed.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PLAIN)
    names = tmp_path / "names.txt"
    names.write_text(f"{tmp_path}/listed.png\n\n{tmp_path}/missing.png\n")
    _, found = scan(tmp_path / "a" / "**" / "*.png", tmp_path / "[odd].png", lists=[names])
    assert told(found) == {
        "1.png": "allow",
        "2.png": "allow",
        "[odd].png": "allow",
        "listed.png": "allow",
        "missing.png": "error",
    }


class TestNames:
    """A FILE knows each input again, and takes none for another."""

    def test_a_file_may_be_called_like_what_lies_in_another(
        self, scan: Scan, tmp_path: Path
    ) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        names = ["a.png#page1", "a.png#1", "s.tar!a.png", "s.tar!.png", "t.parquet#0"]
        for name in names:
            (folder / name).write_bytes(PLAIN)
        _, found = scan(folder)
        assert told(found) == dict.fromkeys(names, "allow")
        (folder / "a.png").write_bytes(UNSAFE)
        shard = tar(folder / "s.tar", [("a.png", UNSAFE)])
        rows = table(folder / "t.parquet", {"image": [UNSAFE]})
        status, found = scan(folder, shard, rows)
        assert status == 1
        new = {row["source"]: row.get("shard") for row in found[len(names) :]}
        assert new == {
            str(folder / "a.png"): None,
            f"{shard}!a.png": str(shard),
            f"{rows}#0": str(rows),
        }
        assert scan(folder, shard, rows) == (1, found)

    def test_members_may_be_called_like_those_of_another_archive(
        self, scan: Scan, tmp_path: Path
    ) -> None:
        outer = tar(tmp_path / "s.tar", [("b.tar!c.png", PLAIN), ("a.png#1", PLAIN), ("", PLAIN)])
        inner = tar(tmp_path / "s.tar!b.tar", [("c.png", UNSAFE)])
        assert scan(outer)[0] == 0
        status, found = scan(outer, inner)
        assert (status, len(found)) == (1, 4)
        assert {row["source"] for row in found[:3]} == {
            f"{outer}!b.tar!c.png",
            f"{outer}!a.png#1",
            f"{outer}!#2",
        }

    @pytest.mark.parametrize("pattern", [".", "*", "./*", "by list", "by name"])
    def test_a_file_may_be_called_like_an_input_that_is_no_file(
        self, scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
    ) -> None:
        folder, names = tmp_path / "in", ["-", "<data URL>", "data:image.png"]
        folder.mkdir()
        monkeypatch.chdir(folder)
        url = f"data:image/png;base64,{base64.b64encode(PLAIN).decode()}"
        assert scan(url)[0] == 0
        for name in names:
            (folder / name).write_bytes(UNSAFE)
        names_file = tmp_path / "names.txt"
        names_file.write_text("\n".join(names))
        for _ in range(2):
            if pattern == "by list":
                status, found = scan(lists=[names_file])
            elif pattern == "by name":  # "-" alone is standard input there
                status, found = scan("./-", *names[1:])
            else:
                status, found = scan(pattern)
            assert status == 1
            assert told(found[1:]) == dict.fromkeys(names, "mask")

    def test_pages_and_frames_are_told_by_what_was_read(
        self, monkeypatch: pytest.MonkeyPatch, scan: Scan, tmp_path: Path
    ) -> None:
        guard = red_guard(red_config(intake=IntakePolicy(frames="scan_all", pdf="pages")))
        monkeypatch.setattr(ImageGuard, "from_config", lambda config: guard)
        moving = animation(picture(), picture(red=True), image_format="GIF")
        (tmp_path / "a.gif#2").write_bytes(moving)
        (tmp_path / "a.pdf#page1").write_bytes(drawn_pdf(ALL_RED_PAGE))
        _, found = scan(tmp_path / "a.gif#2", tmp_path / "a.pdf#page1")
        counted = [
            [row.get(name) for name in ("frame", "frames", "page", "pages")] for row in found
        ]
        assert [row["source"].rsplit("/")[-1] for row in found] == ["a.gif#2"] * 2 + ["a.pdf#page1"]
        assert counted == [[1, 2, None, None], [2, 2, None, None], [None, None, 1, 1]]


@pytest.mark.parametrize("cut", [100, 700, 4000])
def test_a_damaged_archive_is_a_row_and_so_is_all_before_it(
    scan: Scan, shard: Path, cut: int
) -> None:
    shard.write_bytes(shard.read_bytes()[:cut])
    status, found = scan(shard)
    assert status == 2
    assert found[-1]["source"] == f"{shard}!"
    assert "cannot be read to its end" in found[-1]["error"]


def test_a_damaged_table_is_a_row(scan: Scan, rows: Path) -> None:
    rows.write_bytes(rows.read_bytes()[:-50])
    status, found = scan(rows)
    assert (status, len(found)) == (2, 1)
    assert "cannot be read from row 0 on" in found[0]["error"]


@pytest.mark.parametrize("copies", [False, True])
def test_damaged_tables_and_archives_do_not_end_a_scan(
    scan: Scan, tmp_path: Path, rows: Path, copies: bool
) -> None:
    made = [(f"{number}.png", noise(number)) for number in range(4)]
    damaged = [rows, tmp_path / "footless.parquet"]
    for ending in ("gz", "xz"):
        damaged.append(tar(tmp_path / f"s.tar.{ending}", made, f"w:{ending}"))
    for path in damaged[2:]:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + bytes(5_000) + data[len(data) // 2 + 5_000 :])
    damaged[1].write_bytes(rows.read_bytes()[:-50])
    rows.write_bytes(rows.read_bytes()[:4] + bytes(400) + rows.read_bytes()[404:])
    (tmp_path / "good.png").write_bytes(PLAIN)
    options = {"copies": tmp_path / "clean"} if copies else {}
    status, found = scan(
        *damaged, tmp_path / "gone.tar", tmp_path / "good.png", table=tmp_path / "all.pq", **options
    )
    assert status == 2
    assert told(found)["good.png"] == "allow"
    errors = [row["source"] for row in found if "error" in row]
    assert {source.rstrip("!#") for source in errors} >= {
        str(path) for path in [*damaged, tmp_path / "gone.tar"]
    }
    assert (tmp_path / "all.pq").exists()
    kept = {path.name for path in (tmp_path / "clean").rglob("*.*") if path.is_file()}
    assert kept == ({"good.png", "rows.parquet", "s.tar.gz", "s.tar.xz"} if copies else set())


class TestCopies:
    def test_a_folder_keeps_its_layout(self, scan: Scan, tmp_path: Path) -> None:
        pictures = tmp_path / "pictures"
        (pictures / "below").mkdir(parents=True)
        for name, data in {"a.png": PLAIN, "below/b.png": UNSAFE, "bad.png": b"no"}.items():
            (pictures / name).write_bytes(data)
        _, found = scan(pictures, copies=tmp_path / "clean")
        copies = {
            str(path.relative_to(tmp_path / "clean")) for path in (tmp_path / "clean").rglob("*.*")
        }
        assert copies == {"a.png", "below/b.png"}
        assert {row.get("copy") for row in found} == {"a.png", "below/b.png", None}
        assert not is_red((tmp_path / "clean" / "below" / "b.png").read_bytes())

    def test_what_is_blocked_is_left_out(
        self, monkeypatch: pytest.MonkeyPatch, scan: Scan, tmp_path: Path, shard: Path
    ) -> None:
        guard = red_guard(red_config(sanitize={"method": "block"}))
        monkeypatch.setattr(ImageGuard, "from_config", lambda config: guard)
        scan(shard, copies=tmp_path / "clean")
        kept = members(next((tmp_path / "clean").rglob("shard.tar")))
        assert sorted(kept) == ["a.png", "a.txt", "b.png", "no suffix"]
        assert not any(is_red(kept[name]) for name in kept if name != "a.txt")

    @pytest.mark.parametrize("ending", ["tar", "tar.gz"])
    def test_an_archive_keeps_all_that_is_no_picture(
        self, scan: Scan, tmp_path: Path, ending: str
    ) -> None:
        made = [("a.png", PLAIN), ("a.txt", b"a caption"), ("b.png", UNSAFE), ("c.png", b"no")]
        path = tar(tmp_path / f"shard.{ending}", made, "w:gz" if ending == "tar.gz" else "w")
        scan(path, copies=tmp_path / "clean")
        kept = members(next((tmp_path / "clean").rglob(f"shard.{ending}")))
        assert list(kept) == ["a.png", "a.txt", "b.png"]
        assert kept["a.txt"] == b"a caption"
        assert not is_red(kept["b.png"])
        assert not list((tmp_path / "clean").rglob("*.parts"))

    def test_a_table_keeps_its_schema(self, scan: Scan, tmp_path: Path, rows: Path) -> None:
        scan(rows, copies=tmp_path / "clean")
        before = pyarrow.parquet.read_table(rows)
        after = pyarrow.parquet.read_table(next((tmp_path / "clean").rglob("rows.parquet")))
        assert after.schema == before.schema
        assert after["caption"] == before["caption"]
        plain, masked, damaged, empty = after["image"].to_pylist()
        assert damaged is None
        assert empty is None or empty["bytes"] is None
        assert not is_red(plain["bytes"])
        assert not is_red(masked["bytes"])

    def test_pictures_in_other_columns_of_a_table_do_not_pass(
        self, scan: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        images = {name: [{"bytes": UNSAFE, "path": None}] * 2 for name in ("image", "thumb")}
        path = table(tmp_path / "t.parquet", {**images, "caption": ["a", "b"]})
        assert scan(path, copies=tmp_path / "clean")[0] == 1
        (row, _) = pyarrow.parquet.read_table(
            next((tmp_path / "clean").rglob("t.parquet"))
        ).to_pylist()
        assert not is_red(row["image"]["bytes"])
        assert (row["thumb"], row["caption"]) == (None, "a")
        said = " ".join(capsys.readouterr().err.split())
        assert "scan them with --column): " in said
        assert "t.parquet, column thumb: 2 emptied" in said

    def test_resumed_copies_are_complete_and_nothing_is_scanned_twice(
        self, monkeypatch: pytest.MonkeyPatch, scan: Scan, tmp_path: Path, shard: Path
    ) -> None:
        _, whole = scan(shard, copies=tmp_path / "clean")
        kept = members(next((tmp_path / "clean").rglob("shard.tar")))
        (tmp_path / "results.jsonl").unlink()
        # The archive is read to its second picture, and then the process dies.
        guard = red_guard(red_config())
        sanitize, calls = guard.sanitize_many, []

        def dying(*arguments: Any) -> Any:
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return sanitize(*arguments)

        monkeypatch.setattr(guard, "sanitize_many", dying)
        monkeypatch.setattr(ImageGuard, "from_config", lambda config: guard)
        with pytest.raises(KeyboardInterrupt):
            scan(shard, copies=tmp_path / "again")
        assert not list((tmp_path / "again").rglob("shard.tar"))
        _, found = scan(shard, copies=tmp_path / "again")
        assert told(found) == told(whole)
        assert members(next((tmp_path / "again").rglob("shard.tar"))) == kept
        before = len(calls)
        scan(shard, copies=tmp_path / "again")
        assert len(calls) == before

    def test_the_copy_of_a_file_that_was_repaired_is_complete(
        self, scan: Scan, tmp_path: Path
    ) -> None:
        names = ["a.png", "b.png", "c.txt", "d.png"]
        made = zip(names, [PLAIN, UNSAFE, b"a caption", UNSAFE], strict=True)
        path = tar(tmp_path / "shard.tar", list(made))
        data = path.read_bytes()
        path.write_bytes(data[: data.index(b"d.png") + 50])
        for _ in range(2):
            assert scan(path, copies=tmp_path / "clean")[0] == 2
            (copy,) = (tmp_path / "clean").rglob("shard.tar")
            assert list(members(copy)) == names[:3]
        path.write_bytes(data)
        scan(path, copies=tmp_path / "clean")
        kept = members(copy)
        assert list(kept) == names
        assert not any(is_red(kept[name]) for name in names if name != "c.txt")
        assert not list((tmp_path / "clean").rglob("*.parts"))

    @pytest.mark.parametrize("resumed", [False, True])
    def test_nothing_of_an_earlier_scan_is_in_the_copies(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        resumed: bool,
    ) -> None:
        def guard_of(config: GuardAlignConfig) -> ImageGuard:
            return red_guard(red_config(mode=config.mode, sanitize={"method": "block"}))

        monkeypatch.setattr(ImageGuard, "from_config", guard_of)
        clean, pictures = tmp_path / "clean", tmp_path / "in"
        pictures.mkdir()
        (pictures / "a.png").write_bytes(UNSAFE)
        (pictures / "b.png").write_bytes(PLAIN)
        path = tar(tmp_path / "s.tar", [("a.png", UNSAFE), ("b.png", PLAIN), ("c.png", PLAIN)])
        gone = tar(tmp_path / "gone.tar", [("a.png", UNSAFE)])
        data = path.read_bytes()
        path.write_bytes(data[: data.index(b"c.png") + 50])
        options = ScanOptions(copies=clean, mode="observe")
        inputs = [str(pictures / "a.png"), str(pictures / "b.png"), str(path), str(gone)]
        assert run_scan(inputs, [], options) == 2
        kept = {file.name: file for file in clean.rglob("*") if file.is_file()}
        assert is_red(kept["a.png"].read_bytes())
        assert is_red(members(kept["s.tar"])["a.png"])
        assert kept.keys() == {"a.png", "b.png", "s.tar", "gone.tar", "0", "1"}
        others = {name: kept[name].read_bytes() for name in ("a.png", "b.png", "gone.tar")}
        (pictures / "b.png").unlink()
        gone.unlink()
        enforced = replace(
            options, mode="enforce", resume=tmp_path / "results.jsonl" if resumed else None
        )
        for number in range(2):
            assert run_scan(inputs, [], enforced) == 2
            said = capsys.readouterr().err
            assert members(kept["s.tar"]).keys() == {"b.png"}
            # Other copies are named, and stay.
            assert {name: kept[name].read_bytes() for name in others} == others
            assert f"{kept['gone.tar']} is of an earlier scan" in said
            blocked_now = resumed and number == 1
            assert (f"{kept['a.png']} stands where the cleaned copy" in said) != blocked_now
        path.write_bytes(data)
        run_scan(inputs, [], enforced)
        assert members(kept["s.tar"]).keys() == {"b.png", "c.png"}

    def test_what_another_scan_has_cleaned_is_neither_taken_nor_missed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The file of results says which pictures of an archive are its own."""
        guard = red_guard(red_config(sanitize={"method": "block"}))
        monkeypatch.setattr(ImageGuard, "from_config", lambda config: guard)
        path = tar(tmp_path / "s.tar", [("a.png", PLAIN), ("b.png", UNSAFE)])
        clean = tmp_path / "clean"
        options = ScanOptions(copies=clean, resume=tmp_path / "results.jsonl")
        assert run_scan([str(path)], [], options) == 1
        (copy,) = clean.rglob("s.tar")
        # Another scan, by a guard that lets the red picture through, was interrupted.
        parts = copy.with_name("s.tar.parts")
        parts.mkdir()
        (parts / "1").write_bytes(UNSAFE)
        assert run_scan([str(path)], [], options) == 2
        assert "1 of its cleaned pictures are not in" in capsys.readouterr().err
        assert members(copy).keys() == {"a.png"}
        (parts / "0").write_bytes(PLAIN)
        assert run_scan([str(path)], [], options) == 1
        assert members(copy).keys() == {"a.png"}

    def test_no_copy_is_written_over(self, scan: Scan, tmp_path: Path) -> None:
        folder, clean = tmp_path / "in", tmp_path / "clean"
        folder.mkdir()
        for name, form, shade in (("a.tiff", "TIFF", 10), ("a.tiff.png", "PNG", 20)):
            Image.new("RGB", (32, 32), (shade,) * 3).save(folder / name, form)
        urls = [
            f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in (PLAIN, UNSAFE)
        ]
        status, found = scan(folder, *urls, copies=clean)
        assert status == 1
        copies = [row["copy"] for row in found]
        inside = str(folder)[1:]
        assert copies[:2] == [f"{inside}/a.tiff-2.png", f"{inside}/a.tiff.png"]
        assert copies[2:] == ["image.png", "image-2.png"]
        shades = [Image.open(clean / copy).convert("RGB").getpixel((0, 0)) for copy in copies[:2]]
        assert shades == [(10,) * 3, (20,) * 3]
        # A later scan goes on with other names, too.
        _, found = scan(urls[0], copies=clean)
        assert found[-1]["copy"] == "image-3.png"

    def test_long_names_do_not_end_a_scan(self, scan: Scan, tmp_path: Path) -> None:
        """255 bytes are legal; a copy that would need more is an error of its one input."""
        folder, clean = tmp_path / "in", tmp_path / "clean"
        folder.mkdir()
        long = {ending: "n" * (255 - len(ending)) + ending for ending in (".png", ".bmp", ".tar")}
        (folder / long[".png"]).write_bytes(UNSAFE)
        (folder / "z.png").write_bytes(PLAIN)
        Image.new("RGB", (32, 32)).save(folder / long[".bmp"])
        made = [("a.png", PLAIN), ("a.txt", b"a caption")]
        shard = tar(folder / long[".tar"], made)
        for _ in range(2):
            status, found = scan(folder, shard, copies=clean)
            assert status == 2
            failed = {row["source"]: row["error"] for row in found if "error" in row}
            assert failed.keys() == {str(folder / long[".bmp"]), f"{shard}!a.png"}
            assert all("shorter name" in why for why in failed.values())
            whole = clean / str(folder)[1:]
            assert {path.name for path in whole.iterdir()} == {*long.values(), "z.png"} - {
                long[".bmp"]
            }
            assert members(whole / long[".tar"]).keys() == {"a.txt"}

    def test_files_in_each_others_way_are_refused_before_a_scan(
        self, scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        twin = tmp_path / str(tmp_path)[1:] / "a.png"
        twin.parent.mkdir(parents=True)
        for path in (twin, tmp_path / "a.png"):
            path.write_bytes(PLAIN)
        relative = twin.relative_to(tmp_path)
        with pytest.raises(ConfigError, match=f"{tmp_path}/a.png and {relative} would overwrite"):
            scan(tmp_path / "a.png", relative, copies=tmp_path / "clean")
        assert (tmp_path / "results.jsonl").read_bytes() == b""
        assert scan(tmp_path / "a.png", relative)[0] == 0

    def test_an_archive_named_twice_has_its_pictures(
        self, scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        tar(tmp_path / "shard.tar", [("a.png", PLAIN)])
        for _ in range(2):
            status, found = scan("shard.tar", "./shard.tar", copies=tmp_path / "clean")
            assert (status, len(found)) == (0, 2)
            assert list(members(tmp_path / "clean" / "shard.tar")) == ["a.png"]

    def test_members_of_one_name_are_all_scanned(self, scan: Scan, tmp_path: Path) -> None:
        names = ["a.png", "a.png", "a.png#2", "b.png#2", "b.png", "b.png"]
        path = tar(tmp_path / "shard.tar", [(name, PLAIN) for name in names])
        _, found = scan(path, copies=tmp_path / "clean")
        assert len({row["source"] for row in found}) == len(names)
        with tarfile.open(next((tmp_path / "clean").rglob("shard.tar"))) as copy:
            assert copy.getnames() == names

    def test_copies_that_are_elsewhere_or_gone_are_not_taken_for_made(
        self, scan: Scan, tmp_path: Path
    ) -> None:
        folder, file = tmp_path / "in", tmp_path / "results.jsonl"
        folder.mkdir()
        for name, data in (("a.png", PLAIN), ("b.png", UNSAFE), ("c.png", b"damaged")):
            (folder / name).write_bytes(data)
        assert scan(folder, copies=tmp_path / "clean")[0] == 2
        before = file.read_bytes()
        with pytest.raises(ConfigError, match="not in .*/other: a.png and 1 more") as caught:
            scan(folder, copies=tmp_path / "other")
        assert "or another file with --resume, to make them again" in str(caught.value)
        assert scan(folder, copies=tmp_path / "clean")[0] == 2
        (tmp_path / "clean" / "b.png").unlink()
        with pytest.raises(ConfigError, match="not in .*/clean: b.png. "):
            scan(folder, copies=tmp_path / "clean")
        assert file.read_bytes() == before
        # Those of what is not scanned now are no matter of this scan.
        assert scan(folder / "c.png", copies=tmp_path / "clean")[0] == 2

    def test_a_copy_of_an_archive_that_is_elsewhere_is_not_taken_for_made(
        self, scan: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        good = tar(tmp_path / "good.tar", [("a.png", PLAIN)])
        assert scan(good, copies=tmp_path / "clean")[0] == 0
        assert scan(good, copies=tmp_path / "other")[0] == 2
        assert "1 of its cleaned pictures are not in" in capsys.readouterr().err

    def test_results_without_copies_are_not_completed(
        self, scan: Scan, tmp_path: Path, shard: Path
    ) -> None:
        scan(shard)
        with pytest.raises(ConfigError, match="a scan without --sanitize"):
            scan(shard, copies=tmp_path / "clean")


def test_the_results_as_a_table(scan: Scan, tmp_path: Path, shard: Path) -> None:
    _, found = scan(shard, table=tmp_path / "results.parquet")
    written = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()
    assert [json.loads(row["record"]) for row in written] == found
    assert [row["decision"] for row in written] == [row.get("decision") for row in found]
    (masked,) = [row for row in written if row["decision"] == "mask"]
    assert json.loads(masked["regions"])[0]["category"] == "weapon"


def test_a_name_that_is_no_text_has_its_row(tmp_path: Path) -> None:
    lines = tmp_path / "results.jsonl"
    record = {"source": "caf\udce9.png", "decision": "allow"}
    lines.write_text(json.dumps(record) + "\n")
    write_table(lines, tmp_path / "results.parquet")
    (row,) = pyarrow.parquet.read_table(tmp_path / "results.parquet").to_pylist()
    assert (row["source"], row["decision"]) == (r"caf\udce9.png", "allow")
    assert json.loads(row["record"]) == record


def test_a_scan_that_observes_succeeds_and_is_not_mixed_with_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def guard_of(config: GuardAlignConfig) -> ImageGuard:
        return red_guard(red_config(mode=config.mode))

    monkeypatch.setattr(ImageGuard, "from_config", guard_of)
    (tmp_path / "unsafe.png").write_bytes(UNSAFE)
    options = ScanOptions(resume=tmp_path / "results.jsonl", mode="observe", copies=tmp_path / "to")
    assert run_scan([str(tmp_path / "unsafe.png")], [], options) == 0
    (found,) = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    assert (found["decision"], found["would_be"]) == ("observe", "mask")
    assert is_red((tmp_path / "to" / found["copy"]).read_bytes())
    # What stands there already counts the same.
    assert run_scan([str(tmp_path / "unsafe.png")], [], options) == 0
    with pytest.raises(ConfigError, match="of another preset, --words, --mode or version"):
        run_scan([str(tmp_path)], [], replace(options, mode=None))
