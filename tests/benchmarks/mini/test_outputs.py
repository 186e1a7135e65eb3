"""Two versions of the code are compared record by record."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mini import outputs
from benchmarks.mini.outputs import differences, main, record


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    """One scene and one answer of the shipped preset."""
    return list(record(scenes=1, answers=1))


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in records), encoding="utf-8")
    return path


def test_a_record_holds_all_that_a_user_sees(records: list[dict[str, Any]]) -> None:
    kinds = [item["kind"] for item in records]
    assert kinds == ["profile", "scene", "answer", "audit", "audit"]
    profile, scene, answer, *audit = records
    assert profile["fingerprint"] == scene["verdict"]["profile"] == audit[0]["profile"]
    assert {"verdict", "cleaned", "patch_distances", "overlay"} < set(scene)
    assert {"answer", "verdicts"} < set(answer)
    assert not {"time", "mac", "previous"} & set(audit[0])


def test_equal_files_are_equal(
    records: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = write(tmp_path / "old", records), write(tmp_path / "new", records)
    assert differences(old, new) == []
    main(["compare", str(old), str(new)])
    assert "equal, byte for byte" in capsys.readouterr().out


def test_a_changed_verdict_is_found(
    records: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = json.loads(json.dumps(records))
    changed[1]["verdict"]["distance"] += 1e-12
    old, new = write(tmp_path / "old", records), write(tmp_path / "new", changed)
    assert differences(old, new) == ["record 1 (scene): verdict"]
    with pytest.raises(SystemExit) as left:
        main(["compare", str(old), str(new)])
    assert left.value.code == 1
    assert "record 1 (scene): verdict" in capsys.readouterr().out


def test_missing_records_and_another_order_of_keys_are_found(
    records: list[dict[str, Any]], tmp_path: Path
) -> None:
    turned = [dict(reversed(records[0].items())), *records[1:-1]]
    old, new = write(tmp_path / "old", records), write(tmp_path / "new", turned)
    assert differences(old, new) == ["record 0 (profile): key order", "5 records before, 4 after"]


def test_only_the_core_is_imported() -> None:
    """The file also runs by its path, against a checkout without it."""
    tree = ast.parse(Path(outputs.__file__).read_text(encoding="utf-8"))
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert any(name.startswith("guardalign_middleware") for name in names)
    assert not any(name.startswith(("benchmarks", "training", "tests")) for name in names)
    assert not any("._" in name for name in names)
