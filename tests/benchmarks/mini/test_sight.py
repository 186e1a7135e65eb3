"""The benchmark of changed pictures: what its rows show, and how results are stored."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.mini import sight
from benchmarks.mini.sight import Bench, Row, look_alike_scene, ordinary_scene, rows
from guardalign_middleware import ImageGuard
from guardalign_middleware.evaluation.attacks import ATTACKS
from guardalign_middleware.evaluation.metrics import rate


class EverySecond:
    """A guard that flags every second picture."""

    def __init__(self) -> None:
        self.scans = 0

    def scan(self, image: object) -> SimpleNamespace:
        self.scans += 1
        return SimpleNamespace(flagged=self.scans % 2 == 0, regions=())


def test_the_rows_are_those_that_were_asked_for() -> None:
    names = [row.name for row in rows()]
    assert len(names) == len(set(names))
    assert {"squashed to 256×64", "grey", "half covered", "on a photograph"} <= set(names)
    for row in rows():
        if row.group == "resized":
            assert row.name in ATTACKS
    assert sum(row.group == "sizes" for row in rows()) == 12


def test_ordinary_scenes_hold_one_unsafe_thing_of_ordinary_size() -> None:
    for seed in range(10):
        scene = ordinary_scene(np.random.default_rng(seed), on_photograph=bool(seed % 2))
        (item,) = scene.unsafe_items
        assert 40 <= item.box[2] - item.box[0] <= 110


def test_look_alikes_are_reported_ones_and_alone_unless_in_company() -> None:
    for seed in range(10):
        scene = look_alike_scene(np.random.default_rng(seed))
        assert not scene.items
        assert 4 <= len(scene.strangers) <= 6
        assert {each.stranger.split for each in scene.strangers} == {"reported"}
    company = look_alike_scene(np.random.default_rng(3), unsafe=True)
    assert len(company.items) == len(company.unsafe_items) == 1
    assert 3 <= len(company.strangers) <= 5


def test_found_again_is_a_share_of_what_was_found_untouched() -> None:
    guard: Any = EverySecond()
    bench = Bench(guard, 4, 1)
    row = next(row for row in rows() if row.name == "grey")
    assert row.measure(bench)["detected"].n == 4
    assert len(bench.found) == 4
    again = next(row for row in rows() if row.name == "enlarged ×2").measure(bench)
    assert again["found again"].value == 0.5


def test_a_guard_that_finds_nothing_ends_the_benchmark() -> None:
    guard: Any = SimpleNamespace(scan=lambda _: SimpleNamespace(flagged=False))
    with pytest.raises(ValueError, match="found 0 of 6"):
        _ = Bench(guard, 2, 1).found


def test_other_rows_stay_only_if_they_were_measured_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def row(name: str) -> Row:
        def measure(bench: Bench) -> dict[str, Any]:
            calls.append(f"{name} {bench.n}")
            return {"detected": rate(1, bench.n)}

        return Row(name, name, "", measure)

    monkeypatch.setattr(sight, "rows", lambda: (row("sizes"), row("mix")))
    monkeypatch.setattr(ImageGuard, "from_preset", lambda _: None)
    head = {"photographs": [], "promised": 0.01}
    monkeypatch.setattr(sight, "header", lambda _g, n, seed: {"n": n, "seed": seed, **head})
    path = tmp_path / "out.json"

    def run(*arguments: str) -> list[str]:
        sight.main(["--json", str(path), *arguments])
        return [each["row"] for each in json.loads(path.read_text())["rows"]]

    assert run("--n", "3", "--mix", "5", "--rows", "mix") == ["mix"]
    assert run("--n", "3", "--mix", "5", "--rows", "sizes") == ["sizes", "mix"]
    assert calls == ["mix 5", "sizes 3"]
    assert run("--n", "4", "--mix", "5", "--rows", "sizes") == ["sizes"]
