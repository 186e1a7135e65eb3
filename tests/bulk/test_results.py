"""The file of `scan --resume`: what it takes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.bulk.results import ResumeFile
from guardalign_middleware.errors import ConfigError


def test_a_line_of_any_length_is_taken_back(tmp_path: Path) -> None:
    """Quoted words, or very many regions, make long lines."""
    record = {"source": "a.png", "decision": "allow", "words": {"text": ["x" * (2 << 20)]}}
    with ResumeFile.open(tmp_path / "results.jsonl") as file:
        file.add([record])
    with ResumeFile.open(tmp_path / "results.jsonl") as file:
        assert file.status("a.png") == 0


@pytest.mark.parametrize("wrong", [{"copy": 5}, {"frames": "2"}, {"decision": "pass"}])
def test_what_is_no_result_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    record = {"source": "a.png", "decision": "allow", "copy": "a.png", **wrong}
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(ConfigError, match="holds no result"), ResumeFile.open(path):
        pass
