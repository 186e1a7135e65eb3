"""Tiles that adjoin become one canvas; other looks at the same place stay apart."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from guardalign_middleware.generation.frames.placing import Frame, Misfit, gradient
from guardalign_middleware.generation.frames.stitching import Canvas, stitch

SIZE = (400, 300)
WHOLE = (0.0, 0.0, 400.0, 300.0)


def canvas_of(width: int, height: int, picture: Image.Image | None = None) -> Frame:
    picture = picture or Image.fromarray(gradient(*SIZE))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def tiles(canvas: Frame, rows: int, columns: int, overlap: int = 0) -> list[Frame]:
    _, height, width = canvas.shape
    down, across = height // rows, width // columns
    return [
        canvas[
            :,
            max(row * down - overlap, 0) : (row + 1) * down + overlap,
            max(column * across - overlap, 0) : (column + 1) * across + overlap,
        ]
        for row in range(rows)
        for column in range(columns)
    ]


def sizes(canvases: Sequence[Canvas]) -> list[tuple[int, int]]:
    return [canvas.size for canvas in canvases]


class TestStitch:
    @settings(max_examples=25, deadline=None)
    @given(
        rows=st.integers(1, 5),
        columns=st.integers(1, 5),
        side=st.integers(16, 40),
        overlap=st.integers(0, 3),
        seed=st.integers(0, 99),
    )
    def test_tiles_in_any_order_make_the_picture(
        self, rows: int, columns: int, side: int, overlap: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        order = rng.permutation(rows * columns)
        cut = [
            tiles(canvas_of(columns * side, rows * side), rows, columns, overlap)[i] for i in order
        ]
        (canvas,) = stitch(cut, *SIZE)
        assert canvas.size == (columns * side, rows * side)
        assert canvas.box == WHOLE
        noise = Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8))
        seen = canvas_of(columns * side, rows * side, noise)
        laid = canvas.lay([tiles(seen, rows, columns, overlap)[i] for i in order])
        assert np.array_equal(laid, seen.transpose(1, 2, 0))

    def test_padding_around_tiles_is_cut_away_and_empty_tiles_left_out(self) -> None:
        letterbox = np.zeros((3, 112, 168), dtype=np.uint8)
        letterbox[:, 5:68, 20:104] = canvas_of(84, 63)
        (canvas,) = stitch(tiles(letterbox, 4, 6), *SIZE)
        assert canvas.size == (84, 63)
        assert canvas.box == WHOLE
        assert len(canvas.pieces) < 24

    @pytest.mark.parametrize("side", [28, 56])
    def test_a_thumbnail_stays_a_canvas_of_its_own(self, side: int) -> None:
        found = stitch([canvas_of(side, side), *tiles(canvas_of(112, 84), 3, 4)], *SIZE)
        assert sorted(sizes(found)) == sorted([(side, side), (112, 84)])

    def test_so_does_one_at_the_same_place_and_scale(self) -> None:
        letterbox = np.zeros((3, 56, 112), dtype=np.uint8)
        letterbox[:, :, 28:84] = canvas_of(56, 56)
        found = stitch([canvas_of(56, 56), *tiles(letterbox, 1, 2)], *SIZE)
        assert sizes(found) == [(56, 56), (56, 56)]
        assert [len(canvas.pieces) for canvas in found] == [1, 2]

    def test_no_canvas_has_a_hole(self) -> None:
        cut = tiles(canvas_of(84, 84), 3, 3)
        found = stitch([tile for number, tile in enumerate(cut) if number != 4], *SIZE)
        assert sum(width * height for width, height in sizes(found)) == 8 * 28 * 28

    def test_a_frame_that_is_no_part_of_the_picture_is_refused(self) -> None:
        with pytest.raises(Misfit):
            stitch([canvas_of(56, 56)[:, ::-1]], *SIZE)
