"""The table of frames in docs/models.md has every family, and says what the code finds."""

import pytest

from tests.support.family_frames import FULL_SIZE, TABLE, row

# Those that cost least: one with a thumbnail, one that crops, one of any size.
COMPUTED = ["Janus", "LLaVA-1.5, ViP-LLaVA 336", "LLaVA-NeXT 336", "Pixtral"]


def test_every_family_has_a_row() -> None:
    assert [line.split(" | ")[0].removeprefix("| ") for line in TABLE.rows()] == list(FULL_SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPUTED)
def test_the_rows_are_those_that_the_code_finds(name: str) -> None:
    assert row(name) in TABLE.rows()
