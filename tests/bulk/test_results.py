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


def test_what_lies_in_a_table_or_an_archive_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    lines = [
        {"source": "s.tar!a.png", "shard": "s.tar", "decision": "mask"},
        {"source": "s.tar!a.png", "decision": "allow"},
        {"source": "s.tar!b.tar!c.png", "shard": "s.tar!b.tar", "decision": "allow"},
        {"source": "t.pq#0", "shard": "t.pq", "column": "image", "error": "It is damaged."},
        {"source": "-", "decision": "allow"},
        {"source": "<data URL>", "decision": "allow"},
    ]
    with ResumeFile.open(path) as file:
        for line in lines:
            file.add([line])
    for _ in range(2):
        with ResumeFile.open(path) as file:
            assert file.statuses_in("s.tar") == {"s.tar!a.png": 1}
            assert file.statuses_in("s.tar!b.tar") == {"s.tar!b.tar!c.png": 0}
            assert file.statuses_in("t.pq") == {"t.pq#0": 2}
            assert file.statuses_in("u.pq") == {}
            # By the path alone: with hundreds of archives, results are not gone through for each.
            assert file.statuses_in("s.tar") is file.statuses_in("s.tar")
            assert file.status("s.tar!a.png") == 0
            assert file.status("-") is None
            assert file.status("<data URL>") is None


@pytest.mark.parametrize("copy", ["s.tar.parts/a", "s.tar.parts/²", "s.tar.parts/"])
def test_a_picture_of_an_archive_has_a_number(tmp_path: Path, copy: str) -> None:
    record = {"source": "s.tar!a.png", "shard": "s.tar", "decision": "allow", "copy": copy}
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(ConfigError, match="holds no result"), ResumeFile.open(path):
        pass
