"""Atlases: cells in the order of the names, sixteen per row."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware.mini.world.sprites import COLUMNS, Atlas, scaled, turned

NAMES = tuple(f"thing-{number}" for number in range(COLUMNS + 2))


def color(index: int) -> tuple[int, int, int, int]:
    return (10 * index, 255 - 10 * index, 7, 255)


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    """Cells of 4 px, each of its own colour; the third is empty."""
    picture = Image.new("RGBA", (COLUMNS * 4, 8))
    for index in range(len(NAMES)):
        if index != 2:
            left, top = index % COLUMNS * 4, index // COLUMNS * 4
            picture.paste(color(index), (left, top, left + 4, top + 4))
    picture.save(tmp_path / "atlas.png")
    return Atlas(tmp_path / "atlas.png", NAMES, 4)


def test_a_cell_is_found_by_its_place(atlas: Atlas) -> None:
    for index in (0, 1, COLUMNS - 1, COLUMNS, COLUMNS + 1):
        cell = atlas.cell(NAMES[index])
        assert cell is not None
        assert cell.size == (4, 4)
        assert set(cell.get_flattened_data()) == {color(index)}


def test_an_empty_cell_is_none_and_an_unknown_one_an_error(atlas: Atlas) -> None:
    assert atlas.cell(NAMES[2]) is None
    with pytest.raises(KeyError):
        atlas.cell("nothing")


def test_a_grey_atlas_holds_opacity(tmp_path: Path) -> None:
    Image.new("L", (COLUMNS * 4, 4), 128).save(tmp_path / "grey.png")
    cell = Atlas(tmp_path / "grey.png", NAMES[:3], 4).cell(NAMES[1])
    assert cell is not None
    assert set(cell.get_flattened_data()) == {(0, 0, 0, 128)}


def test_scaling_mixes_in_no_colour_of_transparent_pixels() -> None:
    cell = Image.new("RGBA", (8, 8), (0, 0, 255, 0))
    cell.paste((255, 0, 0, 255), (0, 0, 4, 8))
    small = scaled(turned(cell, 0), 5)
    seen = small[..., 3] > 0.05
    assert small[seen][:, 0].min() > 0.95
    assert small[seen][:, 2].max() < 0.05
    assert not small.flags.writeable
    assert np.allclose(small[:, 0, 3], 1, atol=0.1)
