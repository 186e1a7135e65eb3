"""`scan_dataset` in a pipeline of your own: the program of docs/scale.md, on files here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.scale import dataset
from tests.support.bulk import PLAIN, UNSAFE
from tests.support.ray_red import config_with_profile

PAGE = Path(__file__).parents[3] / "docs" / "scale.md"
pytestmark = [pytest.mark.enable_socket, pytest.mark.filterwarnings("ignore")]


def test_the_code_of_the_page_runs(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    for name, data in {"a": PLAIN, "b": UNSAFE, "c": b"damaged"}.items():
        (tmp_path / "photos" / f"{name}.png").write_bytes(data)
    made = config_with_profile(tmp_path)
    monkeypatch.setattr(GuardAlignConfig, "load", lambda preset: made)
    monkeypatch.setattr(dataset, "scan_identity", lambda _: "red")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("s3://bucket", str(tmp_path)), names)  # noqa: S102
    safe = pyarrow.parquet.read_table(tmp_path / "safe").to_pylist()
    assert [Path(row["path"]).name for row in safe] == ["a.png"]
    assert safe[0]["guardalign_cleaned"]
    # Two contents have results; what failed has none.
    kept = [path for path in (tmp_path / "scanned").rglob("*") if path.is_file()]
    assert len(kept) == 2
