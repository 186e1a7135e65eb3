"""`guardalign scan --ray`: equal to the process pool, whatever the inputs are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware import ImageGuard
from guardalign_middleware.bulk import pool
from guardalign_middleware.cli import scan as command
from guardalign_middleware.cli.scan import ScanOptions, run_scan
from guardalign_middleware.config import GuardAlignConfig, IntakePolicy
from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.scale import cluster as joining
from guardalign_middleware.scale import scans
from guardalign_middleware.scale.engine import Actors, pool_of
from guardalign_middleware.testing import picture, red_guard
from tests.support.animations import animation
from tests.support.bulk import PLAIN, UNSAFE, members, table, tar
from tests.support.ray_red import config_with_profile, prepare

# Ray warns of what Ray does.
pytestmark = [pytest.mark.enable_socket, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def config(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GuardAlignConfig:
    """Of a guard that finds red, on the cluster and in the process pool."""
    made = config_with_profile(tmp_path)
    made = made.model_copy(update={"intake": IntakePolicy(frames="scan_all")})

    @contextmanager
    def joined(address: str) -> Iterator[Any]:
        assert address == "here"
        yield cluster

    monkeypatch.setattr(joining, "joined", joined)
    monkeypatch.setattr(pool, "_prepare", prepare)
    monkeypatch.setattr(ImageGuard, "from_config", red_guard)
    monkeypatch.setattr(GuardAlignConfig, "load", lambda preset: made)
    return made


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for number in range(40):
        file = folder / ("deep" if number % 3 else ".") / f"{number:02}.png"
        file.write_bytes([PLAIN, UNSAFE, PLAIN[:90], b"", PLAIN][number % 5])
    (folder / "moving.tiff").write_bytes(animation(picture(), picture(red=True)))
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(PLAIN)
    made = [("a.png", PLAIN), ("a.txt", b"a caption"), ("b.png", UNSAFE), ("c.png", b"damaged")]
    tar(tmp_path / "shard.tar", [*made, ("b.png", PLAIN)])
    images = [{"bytes": data, "path": None} for data in (PLAIN, UNSAFE, b"damaged", None) * 9]
    table(tmp_path / "rows.parquet", {"image": images, "caption": list("abcd" * 9)})
    return folder


def scan(tmp_path: Path, name: str, *paths: Path, **options: Any) -> tuple[int, list[Any]]:
    file = tmp_path / f"{name}.jsonl"
    status = run_scan([str(path) for path in paths], [], ScanOptions(resume=file, **options))
    lines = [json.loads(line) for line in file.read_text(errors="surrogateescape").splitlines()]
    return status, [{key: line[key] for key in line if key != "seconds"} for line in lines]


def test_a_cluster_of_two_finds_what_two_processes_find(
    config: GuardAlignConfig, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(scans, "pool_of", lambda actors: started.append(actors) or pool_of(actors))
    paths = (inputs, tmp_path / "shard.tar", tmp_path / "rows.parquet")
    found = {}
    for name, options in {"pool": {"workers": 2}, "ray": {"workers": 2, "ray": "here"}}.items():
        found[name] = scan(tmp_path, name, *paths, copies=tmp_path / f"clean-{name}", **options)
    assert found["ray"] == found["pool"]
    assert started == [Actors(least=2, most=2)]
    status, lines = found["ray"]
    assert status == 2
    assert {line.get("decision", "error") for line in lines} == {"allow", "mask", "error"}
    copies = {
        name: {str(one.relative_to(tmp_path / name)) for one in (tmp_path / name).rglob("*")}
        for name in ("clean-pool", "clean-ray")
    }
    assert copies["clean-ray"] == copies["clean-pool"]
    (shard,) = (tmp_path / "clean-ray").rglob("shard.tar")
    assert set(members(shard)) == {"a.png", "a.txt", "b.png"}


def test_an_interrupted_scan_goes_on(
    config: GuardAlignConfig, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = (tmp_path / "shard.tar", inputs)
    whole = scan(tmp_path, "whole", *paths, ray="here")
    seen = 0

    def dying(*arguments: Any, **options: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "_show", dying)
        with pytest.raises(KeyboardInterrupt):
            scan(tmp_path, "parts", *paths, ray="here")
    assert scan(tmp_path, "parts", *paths, ray="here") == whole
    # Nothing is left: no cluster is joined.
    monkeypatch.setattr(joining, "joined", None)
    assert scan(tmp_path, "parts", inputs, ray="here")[0] == 2


def test_an_input_that_kills_its_process_is_a_line(
    config: GuardAlignConfig, tmp_path: Path
) -> None:
    for name in ("a", "poison", "z"):
        (tmp_path / f"{name}.png").write_bytes(PLAIN)
    status, lines = scan(tmp_path, "found", *sorted(tmp_path.glob("*.png")), ray="here", workers=1)
    assert status == 2
    assert ["error" in line for line in lines] == [False, True, False]
    assert "died, twice" in lines[1]["error"]


def test_a_guard_that_cannot_be_loaded_is_its_own_error(
    config: GuardAlignConfig, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = config.model_copy(update={"name": "broken"})
    monkeypatch.setattr(GuardAlignConfig, "load", lambda preset: broken)
    with pytest.raises(ModelLoadError, match=r"It cannot be loaded\. Get it\."):
        scan(tmp_path, "found", inputs, ray="here")


def test_overlays_are_numbered_as_by_one_process(config: GuardAlignConfig, tmp_path: Path) -> None:
    shard = tar(tmp_path / "shard.tar", [("a.png", PLAIN), ("b.png", UNSAFE)])
    (tmp_path / "c.png").write_bytes(PLAIN)
    for name, options in {"one": {}, "ray": {"ray": "here"}}.items():
        folder = tmp_path / name
        scan(tmp_path, f"found-{name}", shard, tmp_path / "c.png", overlay=folder, **options)
    names = sorted(path.name for path in (tmp_path / "ray").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names[-1] == "0003-c.png"
