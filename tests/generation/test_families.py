"""Every family in docs/models.md holds what the page says, on a tiny random model of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.family_matrix import check, table
from tests.support.tiny.families import MATRIX


# Processors of PaliGemma and GLM make numpy arrays of torch tensors.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("family", MATRIX)
@pytest.mark.slow
def test_the_page_says_what_was_found(family: str, tmp_path: Path) -> None:
    assert str(check(family, tmp_path)) in table()


def test_the_page_names_every_family_once() -> None:
    assert len(table()) == len(set(table())) == len(MATRIX)
