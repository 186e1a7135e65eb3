"""What keeps a guard from starting is said when a handle is made, before the first picture."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from guardalign_middleware import AuditError, ConfigError
from guardalign_middleware.handles import LazyChain, LazyGuard
from guardalign_middleware.local_extra import _missing
from tests.test_layering import loaded_after

Settings = dict[str, Any]


def written(folder: Path, /, **changes: Any) -> Path:
    """A preset that starts, with the changes to its section `detection` and others."""
    (folder / "anchors.yaml").write_text("categories: {}", encoding="utf-8")
    (folder / "profile.json").write_text("{}", encoding="utf-8")
    detection: Settings = {
        "encoder": {"model": "local-dir:encoder"},
        "anchors": "anchors.yaml",
        "profile": "profile.json",
    }
    detection |= changes.pop("detection", {})
    data = {"name": "own", "detection": detection, "runner": {"model": "./llava"}, **changes}
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


@pytest.fixture(params=[LazyChain, LazyGuard])
def handle(request: pytest.FixtureRequest) -> type[LazyChain] | type[LazyGuard]:
    kind: type[LazyChain] | type[LazyGuard] = request.param
    return kind


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"detection": {"profile": None}}, "no threshold profile.*guardalign init"),
        ({"detection": {"profile": "gone.json"}}, "Cannot read the threshold profile .*gone.json"),
        ({"detection": {"anchors": "gone.yaml"}}, "Cannot read the anchors .*gone.yaml"),
        (
            {
                "detection": {
                    "defence": {
                        "second": {"encoder": {"model": "local-dir:b"}, "anchors": "gone.yaml"}
                    }
                }
            },
            "Cannot read the anchors .*gone.yaml",
        ),
        ({"detection": {"sees": "model"}, "runner": None}, "no runner"),
    ],
)
def test_a_missing_part_is_an_error_at_the_start(
    tmp_path: Path,
    handle: type[LazyChain] | type[LazyGuard],
    changes: Settings,
    words: str,
) -> None:
    handle(preset=written(tmp_path))
    with pytest.raises(ConfigError, match=words) as caught:
        handle(preset=written(tmp_path, **changes))
    assert caught.value.remedy


@pytest.mark.parametrize("preset", ["clip-vit-l-14-336", "llava-1.5-7b"])
def test_a_shipped_preset_of_real_models_decides_nothing_yet(preset: str) -> None:
    with pytest.raises(ConfigError, match=r"no threshold profile.*guard\.yaml"):
        LazyGuard(preset=preset)


def test_to_observe_needs_no_profile() -> None:
    assert LazyGuard(preset="clip-vit-l-14-336", mode="observe").config.detection.profile is None


def test_a_chain_needs_a_runner(tmp_path: Path) -> None:
    path = written(tmp_path, runner=None)
    assert LazyGuard(preset=path)
    with pytest.raises(ConfigError, match="has no runner"):
        LazyChain(preset=path)


def test_the_key_of_the_audit_log_is_read_at_the_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    handle: type[LazyChain] | type[LazyGuard],
) -> None:
    path = written(tmp_path, audit={"log": "audit.jsonl", "key_file": "audit.key"})
    with pytest.raises(AuditError, match="Cannot read the key file"):
        handle(preset=path)
    key = tmp_path / "audit.key"
    key.write_text("0" * 64, encoding="ascii")
    key.chmod(0o600)
    with pytest.raises(AuditError, match="repeats a pattern"):
        handle(preset=path)
    key.write_text(hashlib.sha256(b"a").hexdigest(), encoding="ascii")
    assert handle(preset=path)
    assert not (tmp_path / "audit.jsonl").exists()

    path = written(tmp_path, audit={"log": "audit.jsonl", "key_variable": "GUARDALIGN_TEST_KEY"})
    monkeypatch.delenv("GUARDALIGN_TEST_KEY", raising=False)
    with pytest.raises(AuditError, match="GUARDALIGN_TEST_KEY"):
        handle(preset=path)


@pytest.mark.parametrize(
    ("library", "extra", "changes"),
    [
        ("rapidocr", "words", {"words": {"mode": "mask"}}),
        (
            "onnxscript",
            "fast",
            {"detection": {"encoder": {"model": "local-dir:encoder", "precision": "int8"}}},
        ),
        ("accelerate", "sharded", {"runner": {"model": "./llava", "device_map": "auto"}}),
    ],
)
def test_a_missing_extra_is_an_error_at_the_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    library: str,
    extra: str,
    changes: Settings,
) -> None:
    path = written(tmp_path, **changes)
    monkeypatch.setattr(
        "guardalign_middleware.local_extra.find_spec", lambda name: name != library or None
    )
    assert _missing([library]) == library
    with pytest.raises(ConfigError, match=rf"{library}.*guardalign-core\[{extra}\]"):
        LazyChain(preset=path)


def test_the_checks_load_no_torch() -> None:
    loaded = loaded_after(
        "from guardalign_middleware.handles import LazyChain\nLazyChain(preset='mini')"
    )
    assert "guardalign_middleware.start_checks" in loaded
    assert "torch" not in loaded
