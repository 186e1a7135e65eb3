"""Sets to calibrate on, in the layouts in which they are published, and in damaged ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ConfigError, HubError, ImageRejected
from guardalign_middleware.first_day.picture_sets import PictureSet, Side, open_set
from guardalign_middleware.intake import load_image
from tests.hub.double import HOSTS, Hub, Repository
from tests.support.pictures import encode, gradient

PNG = encode(gradient())
POLICY = IntakePolicy()


def opened(name: str, side: Side = "safe") -> PictureSet:
    found = open_set(name, side, POLICY)
    for picture in found.pictures:
        load_image(picture.read(), POLICY)
    return found


def names(found: PictureSet) -> list[str]:
    return [picture.name for picture in found.pictures]


def write_table(path: Path, **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(columns.values())))
    images = [{"bytes": PNG, "path": f"{number}.png"} for number in range(count)]
    pq.write_table(pa.table({"image": images, **columns}), path, row_group_size=2)
    return path


class TestFolders:
    def test_pictures_at_any_depth(self, tmp_path: Path) -> None:
        (tmp_path / "knives").mkdir()
        (tmp_path / "knives" / "a.png").write_bytes(PNG)
        (tmp_path / "b.png").write_bytes(PNG)
        (tmp_path / "notes.txt").write_text("no picture")
        found = opened(str(tmp_path), "unsafe")
        assert names(found) == [str(tmp_path / "b.png"), str(tmp_path / "knives" / "a.png")]

    def test_an_empty_one_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ImageRejected, match="no image file"):
            opened(str(tmp_path))


class TestCoco:
    def test_the_pictures_of_val2017(self, tmp_path: Path) -> None:
        (tmp_path / "val2017").mkdir()
        for number in (139, 285):
            (tmp_path / "val2017" / f"{number:012d}.jpg").write_bytes(PNG)
        (tmp_path / "val2017" / "mine.jpg").write_bytes(PNG)
        found = opened(f"coco:{tmp_path}")
        assert names(found) == ["000000000139.jpg", "000000000285.jpg"]
        assert "CC-BY-4.0" in found.licence
        assert "2 of 5,000" in found.licence
        assert names(opened(f"coco:{tmp_path / 'val2017'}")) == names(found)

    def test_it_has_no_unsafe_ones_and_another_folder_is_no_coco(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no unsafe pictures"):
            opened(f"coco:{tmp_path}", "unsafe")
        with pytest.raises(ConfigError, match=r"no pictures of COCO.*val2017\.zip"):
            opened(f"coco:{tmp_path}")
        with pytest.raises(ConfigError, match="no folder"):
            opened(f"coco:{tmp_path / 'nowhere'}")


class TestUnsafeBench:
    def test_each_side_has_the_pictures_with_its_label(self, tmp_path: Path) -> None:
        labels = {
            "safety_label": ["Safe", "Unsafe", "Unsafe"],
            "category": ["Hate", "Hate", "Self"],
        }
        write_table(tmp_path / "data" / "test-00000-of-00001.parquet", **labels)
        safe, unsafe = (opened(f"unsafebench:{tmp_path}", side) for side in ("safe", "unsafe"))
        assert names(safe) == ["test-00000-of-00001.parquet#0"]
        assert names(unsafe) == [f"test-00000-of-00001.parquet#{number}" for number in (1, 2)]
        assert "gated" in unsafe.licence

    def test_other_tables_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no tables of UnsafeBench"):
            opened(f"unsafebench:{tmp_path}")
        write_table(tmp_path / "a.parquet", category=["x"])
        with pytest.raises(ConfigError, match=r"lacks 'safety_label'; it has image, category"):
            opened(f"unsafebench:{tmp_path}")
        (tmp_path / "a.parquet").write_bytes(b"PAR1, but no table")
        with pytest.raises(ConfigError, match="is not a Parquet file"):
            opened(f"unsafebench:{tmp_path}")

    def test_a_side_without_pictures_is_said(self, tmp_path: Path) -> None:
        write_table(tmp_path / "a.parquet", category=["x"], safety_label=["Safe"])
        with pytest.raises(ConfigError, match="has no unsafe pictures"):
            opened(f"unsafebench:{tmp_path}", "unsafe")

    def test_rows_without_a_picture_are_left_out_and_counted(self, tmp_path: Path) -> None:
        images = [{"bytes": PNG, "path": "0.png"}, None, {"bytes": None, "path": "2.png"}]
        images += [{"bytes": PNG, "path": "3.png"}]
        labels = ["Safe", "Safe", "Safe", "Unsafe"]
        table = pa.table({"image": images, "safety_label": labels})
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
        safe, unsafe = (opened(f"unsafebench:{tmp_path}", side) for side in ("safe", "unsafe"))
        assert names(safe) == ["a.parquet#0"]
        assert safe.licence.endswith("; 2 rows without a picture are left out")
        assert names(unsafe) == ["a.parquet#3"]
        assert "left out" not in unsafe.licence
        (tmp_path / "none").mkdir()
        pq.write_table(table.slice(1, 2), tmp_path / "none" / "b.parquet")
        with pytest.raises(ConfigError, match="none of 2 rows holds a picture") as caught:
            opened(f"unsafebench:{tmp_path / 'none'}")
        assert "into a folder" in caught.value.remedy

    def test_a_column_of_files_alone_and_one_of_other_things(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"image": [PNG], "safety_label": ["Safe"]}), tmp_path / "a.parquet")
        assert len(opened(f"unsafebench:{tmp_path}").pictures) == 1
        pq.write_table(pa.table({"image": ["x"], "safety_label": ["Safe"]}), tmp_path / "a.parquet")
        with pytest.raises(ConfigError, match="'image' of .* holds no pictures but string"):
            opened(f"unsafebench:{tmp_path}")

    def test_a_table_that_changes_meanwhile_is_no_picture(self, tmp_path: Path) -> None:
        path = write_table(tmp_path / "a.parquet", safety_label=["Safe"] * 2)
        last = open_set(f"unsafebench:{tmp_path}", "safe", POLICY).pictures[-1]
        for change in (lambda: path.write_bytes(b"PAR1"), path.unlink):
            change()
            with pytest.raises(ImageRejected, match=r"a\.parquet cannot be read any more"):
                last.read()


class TestHoliSafe:
    def test_the_first_letter_of_the_type_is_the_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "images" / "weapon").mkdir(parents=True)
        rows = []
        for number, kind in enumerate(("SSS", "USU", "UUU", "SUU")):
            name = f"weapon/{number}.png"
            (tmp_path / "images" / name).write_bytes(PNG)
            rows += [{"image": name, "type": kind, "category": "weapon", "query": "?"}] * 2
        (tmp_path / "holisafe_bench.json").write_text(json.dumps(rows))
        assert names(opened(f"holisafe:{tmp_path}")) == ["weapon/0.png", "weapon/3.png"]
        unsafe = opened(f"holisafe:{tmp_path}", "unsafe")
        assert names(unsafe) == ["weapon/1.png", "weapon/2.png"]  # each once
        assert "NC" in unsafe.licence
        (tmp_path / "images" / "weapon" / "1.png").unlink()
        with pytest.raises(ConfigError, match=r"weapon/1\.png .* is missing"):
            opened(f"holisafe:{tmp_path}", "unsafe")


@pytest.mark.allow_hosts([*HOSTS])
class TestHub:
    def test_a_data_set_of_tables_and_one_of_files(self, hub: Hub, tmp_path: Path) -> None:
        write_table(tmp_path / "tables" / "data" / "train-0.parquet", label=[0, 1, 0])
        (tmp_path / "files" / "cats").mkdir(parents=True)
        (tmp_path / "files" / "cats" / "a.png").write_bytes(PNG)
        for name in ("tables", "files"):
            hub.repositories[f"me/{name}"] = Repository(tmp_path / name, "cc0-1.0", dataset=True)
        tables, files = opened("hub:me/tables"), opened("hub:me/files")
        assert names(tables) == [f"train-0.parquet#{number}" for number in range(3)]
        assert tables.licence.startswith("cc0-1.0")
        assert [Path(name).name for name in names(files)] == ["a.png"]
        commit = hub.repositories["me/files"].commit
        assert opened(f"hub:me/files@{commit}").title == f"me/files at {commit[:12]}"

    def test_one_that_is_gated_or_not_there(self, hub: Hub, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(PNG)
        hub.repositories["me/gated"] = Repository(tmp_path, dataset=True, gated=True)
        with pytest.raises(HubError, match="gated") as caught:
            opened("hub:me/gated")
        assert f"{hub.endpoint}/" in caught.value.remedy
        with pytest.raises(HubError, match="has no repository datasets/me/none"):
            opened("hub:me/none")


def test_a_part_is_drawn_by_the_seed(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.png").write_bytes(PNG)
    found = open_set(str(tmp_path), "safe", POLICY)
    some = found.some(4, seed=1)
    assert names(some) == names(found.some(4, seed=1)) == sorted(names(some))
    assert len(some.pictures) == 4
    assert found.some(None, seed=1) is found
