"""The guard without a model behind it, as the adapters hold it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import yaml

from guardalign_middleware import ConfigError, GuardAlignConfig, ImageGuard
from guardalign_middleware.handles import LazyGuard, guard_handle
from guardalign_middleware.testing import red_config, red_guard


def preset(tmp_path: Path, **changes: object) -> Path:
    """A preset without a runner, whose files exist."""
    (tmp_path / "anchors.yaml").write_text("categories: {}", encoding="utf-8")
    (tmp_path / "profile.json").write_text("{}", encoding="utf-8")
    path = tmp_path / "own.yaml"
    detection = {
        "encoder": {"model": "local-dir:encoder"},
        "anchors": "anchors.yaml",
        "profile": "profile.json",
    }
    path.write_text(yaml.safe_dump({"name": "own", "detection": detection, **changes}))
    return path


def fingerprint(path: Path) -> str:
    return str(LazyGuard(preset=path).identity["fingerprint"])


def test_exactly_one_source() -> None:
    with pytest.raises(ConfigError, match="preset and guard"):
        LazyGuard()
    with pytest.raises(ConfigError, match="preset and guard"):
        LazyGuard(preset="mini", guard=red_guard())


def test_an_adapter_takes_a_preset_or_a_guard_or_the_default(tmp_path: Path) -> None:
    guard = red_guard()
    assert guard_handle(None, guard).get() is guard
    assert guard_handle(preset(tmp_path), None).config.name == "own"
    assert guard_handle(None, None).config.name == "mini"
    with pytest.raises(ConfigError, match="Exactly one of preset and guard"):
        guard_handle("mini", guard)


async def test_it_loads_once_and_needs_no_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[GuardAlignConfig] = []

    def load(config: GuardAlignConfig) -> ImageGuard:
        loads.append(config)
        return red_guard()

    monkeypatch.setattr(ImageGuard, "from_config", load)
    lazy = LazyGuard(preset=preset(tmp_path))
    before = lazy.identity
    assert loads == []
    assert lazy.get() is await lazy.aget()
    assert len(loads) == 1
    assert lazy.identity == before


def test_copies_are_the_same_guard_and_pickles_load_again(tmp_path: Path) -> None:
    lazy = LazyGuard(preset=preset(tmp_path))
    assert copy.copy(lazy) is lazy
    assert copy.deepcopy([lazy]) == [lazy]
    again = pickle.loads(pickle.dumps(lazy))
    assert type(again) is LazyGuard
    assert again.config == lazy.config
    with pytest.raises(TypeError, match="preset"):
        pickle.dumps(LazyGuard(guard=red_guard()))


def test_identity_changes_with_what_could_change_a_cleaned_image_and_nothing_else(
    tmp_path: Path,
) -> None:
    plain = fingerprint(preset(tmp_path))
    assert fingerprint(preset(tmp_path, runner={"model": "./llava"})) == plain
    assert fingerprint(preset(tmp_path, sanitize={"fill": [0, 0, 0]})) != plain
    path = preset(tmp_path)
    (tmp_path / "anchors.yaml").write_text("categories: {a: [b]}", encoding="utf-8")
    assert fingerprint(path) != plain
    given = LazyGuard(guard=red_guard()).identity
    assert given["guard"] == "red"
    changed = red_guard(red_config(blocked_reply="No."))
    assert LazyGuard(guard=changed).identity != given
