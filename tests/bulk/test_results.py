"""The file of `scan --resume`: what it takes back."""

from __future__ import annotations

from pathlib import Path

from guardalign_middleware.bulk.results import ResumeFile


def test_a_line_of_any_length_is_taken_back(tmp_path: Path) -> None:
    """Quoted words, or very many regions, make long lines."""
    record = {"source": "a.png", "decision": "allow", "words": {"text": ["x" * (2 << 20)]}}
    with ResumeFile.open(tmp_path / "results.jsonl") as file:
        file.add("a.png", [record])
    with ResumeFile.open(tmp_path / "results.jsonl") as file:
        assert file.status("a.png") == 0
