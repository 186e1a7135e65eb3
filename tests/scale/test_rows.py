"""The columns that a scan adds, without Ray."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from guardalign_middleware import __version__
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import Job, Outcome
from guardalign_middleware.bulk.scanner import Scanner
from guardalign_middleware.config import GuardAlignConfig, IntakePolicy
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.scale import rows as of_rows
from guardalign_middleware.scale.rows import ScanRows, check_columns
from guardalign_middleware.testing import picture, red_guard
from tests.support.animations import animation
from tests.support.bulk import PLAIN, UNSAFE, is_red
from tests.support.ray_red import config_with_profile

scanned: list[str] = []


class Here:
    """Scans in this process."""

    def __init__(self, job: Job, version: str) -> None:
        self._scanner = Scanner(job)

    def outcomes(self, entries: Iterable[Entry]) -> Iterator[Outcome]:
        for entry in entries:
            scanned.append(entry.source)
            yield self._scanner.scan(entry)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GuardAlignConfig:
    monkeypatch.setattr(of_rows, "Holder", Here)
    monkeypatch.setattr(ImageGuard, "from_config", red_guard)
    scanned.clear()
    made = config_with_profile(tmp_path)
    return made.model_copy(update={"intake": IntakePolicy(frames="scan_all")})


def rows(**files: bytes | None) -> Any:
    values = pyarrow.array(list(files.values()), pyarrow.binary())
    return pyarrow.table({"path": list(files), "bytes": values, "label": [1] * len(files)})


def run(config: GuardAlignConfig, table: Any, **options: Any) -> list[dict[str, Any]]:
    fields = {"column": "bytes", "name": "path", "store": None, "cleaned": False} | options
    return ScanRows(config, version=__version__, **fields)(table).to_pylist()


def test_every_row_stays_with_what_the_guard_says(config: GuardAlignConfig) -> None:
    frames = animation(picture(), picture(red=True))
    table = rows(a=PLAIN, b=UNSAFE, c=b"damaged", d=None, e=frames, f=PLAIN)
    found = run(config, table)
    assert [row["path"] for row in found] == list("abcdef")
    assert {row["label"] for row in found} == {1}
    assert [row["guardalign_decision"] for row in found] == [
        "allow",
        "mask",
        None,
        None,
        "mask",
        "allow",
    ]
    assert [row["guardalign_error"] is None for row in found] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert found[1]["guardalign_category"] == "weapon"
    assert found[1]["guardalign_distance"] <= found[1]["guardalign_threshold"]
    assert len(found[4]["guardalign_records"].splitlines()) == 2
    assert '"source": "f"' in found[5]["guardalign_records"]
    assert scanned == list("abce")


def test_cleaned_files_hold_nothing_unsafe(config: GuardAlignConfig) -> None:
    frames = animation(picture(), picture(red=True))
    found = run(config, rows(a=PLAIN, b=UNSAFE, c=b"no", d=frames), cleaned=True)
    cleaned = [row["guardalign_cleaned"] for row in found]
    assert [data is None for data in cleaned] == [False, False, True, True]
    assert not is_red(cleaned[1])


def test_contents_are_scanned_once_whatever_their_name(
    config: GuardAlignConfig, tmp_path: Path
) -> None:
    store = (str(tmp_path / "results"), "a" * 64)
    first = run(config, rows(a=PLAIN, b=UNSAFE, c=b"damaged"), store=store, cleaned=True)
    scanned.clear()
    again = run(config, rows(x=UNSAFE, y=PLAIN, z=b"damaged"), store=store, cleaned=True)
    assert scanned == ["z"]  # what failed is tried again
    for new, old in zip(again[:2], (first[1], first[0]), strict=True):
        for name in ("decision", "distance", "cleaned"):
            assert new[f"guardalign_{name}"] == old[f"guardalign_{name}"]


def test_columns_are_those_that_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no column 'bytes'; it has image, path\. .* column=…"):
        check_columns(["image", "path"], "bytes", "path")
    with pytest.raises(ConfigError, match="or give name=None"):
        check_columns(["bytes"], "bytes", "path")
    with pytest.raises(ConfigError, match="guardalign_decision already"):
        check_columns(["bytes", "guardalign_decision"], "bytes", None)


def test_of_observed_frames_the_one_that_would_be_treated_worst_stands_for_the_file() -> None:
    frames = [
        {"decision": "observe", "would_be": each, "category": each} for each in ("mask", "allow")
    ]
    row = of_rows.told(of_rows.Kept(tuple(frames), None))
    assert (row["decision"], row["category"]) == ("observe", "mask")
