"""Output files are there completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardalign_middleware.bulk.writing import DRAFT, NameTooLong, replaced


def test_a_name_may_have_all_bytes_that_the_file_system_takes(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 127)
    with replaced(target) as file:
        file.write(b"whole")
        (draft,) = tmp_path.iterdir()
        assert DRAFT.fullmatch(draft.name)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    with pytest.raises(NameTooLong, match="shorter name"), replaced(tmp_path / ("é" * 128)):
        pass
    assert target.read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 1
