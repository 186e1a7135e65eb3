"""What docs/models.md says about each family is true of a tiny random model of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.family_matrix import TABLE, check
from tests.support.tiny.families import MATRIX

# The rest take half a minute: `make evidence` runs them.
USUAL = {"gemma3", "internvl", "llava", "llava_next", "mllama", "qwen2_5_vl", "qwen3_vl"}
FAMILIES = [
    family if family in USUAL else pytest.param(family, marks=pytest.mark.evidence)
    for family in MATRIX
]


# The processors of PaliGemma and GLM convert torch tensors to numpy arrays.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_the_page_says_what_was_found(family: str, model_directory: Callable[[str], Path]) -> None:
    assert str(check(family, model_directory(family))) in TABLE.rows()


def test_the_page_names_every_family_once() -> None:
    rows = TABLE.rows()
    assert len(rows) == len(set(rows)) == len(MATRIX)
