from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from guardalign_middleware.detection.anchor_check import check_anchors
from guardalign_middleware.detection.anchor_file import read_entries
from guardalign_middleware.testing import FakeEncoder

FILE = """\
categories:
  fire: [red, red grey]
  toxic:
    action: flag
    anchors:
      - yellow
      - grey red
  fog:
    action: allow
    anchors: [grey grey]
neutral:
  wall: [grey, white]
"""


class WordEncoder(FakeEncoder):
    def encode_texts(self, texts: list[str]) -> Tensor:  # type: ignore[override]
        assert all(texts)
        rows = super().encode_texts(texts)
        assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)))
        return rows


def test_finds_what_clashes_and_where(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(FILE)
    report = check_anchors(WordEncoder(), read_entries(file), overlap=0.95)
    assert report.concepts == ("fire", "toxic", "fog", "wall")
    (pair,) = report.overlaps
    assert (pair.first.text, pair.second.text) == ("red grey", "grey red")
    assert (pair.first.line, pair.second.line) == (2, 7)
    assert "line 7" in pair.message
    assert "which category" in pair.message
    np.testing.assert_allclose(np.diag(report.similarity), 1.0, atol=1e-6)
    np.testing.assert_allclose(report.concept_similarity, report.concept_similarity.T)
    assert report.concept_similarity[0, 1] == pytest.approx(
        np.dot([1 + 0.5**0.5, 0.5**0.5, 0], [0.5**0.5, 0.5**0.5, 1])
        / np.linalg.norm([1 + 0.5**0.5, 0.5**0.5, 0])
        / np.linalg.norm([0.5**0.5, 0.5**0.5, 1])
    )
    near = report.nearest_neutral("fire")
    assert near is not None
    assert (near[0].text, near[1].text) == ("red grey", "grey grey")
    # Neutral words may be similar (grey, grey grey); a lower limit reports the neutral overlap.
    lower = check_anchors(WordEncoder(), read_entries(file), overlap=0.7)
    assert any("counts as neutral" in one.message for one in lower.overlaps)
    assert not any(one.first.neutral for one in lower.overlaps)
    similar = [one.similarity for one in lower.overlaps]
    assert similar == sorted(similar, reverse=True)
    with pytest.raises(ValueError, match="overlap"):
        check_anchors(WordEncoder(), read_entries(file), overlap=0.0)


def test_without_neutral_words(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("categories: {fire: [red]}")
    assert check_anchors(FakeEncoder(), read_entries(file)).nearest_neutral("fire") is None
