"""Each order of patches is undone; what cannot be read is refused."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guardalign_middleware.generation.frames.unpatchify import (
    PatchOrder,
    UnknownLayout,
    raw_frames,
)


def picture(rows: int, columns: int, side: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, rows * side, columns * side, generator=generator)


def patch(frame: Tensor, row: int, column: int, side: int) -> Tensor:
    return frame[:, row * side : (row + 1) * side, column * side : (column + 1) * side]


def read(outputs: dict[str, Any], order: PatchOrder = "merged", **attributes: Any) -> list[Tensor]:
    return [frame.values for frame in raw_frames(outputs, SimpleNamespace(**attributes), order)]


def assert_frames(found: list[Tensor], *expected: Tensor) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


class TestPlain:
    @pytest.mark.parametrize("leading", [(), (2,), (1, 2), (1, 1, 2)])
    def test_any_leading_dimensions(self, leading: tuple[int, ...]) -> None:
        pictures = torch.rand(*leading, 3, 4, 6)
        found = read({"pixel_values": pictures, "input_ids": torch.ones(1, 4, dtype=torch.long)})
        assert_frames(found, *pictures.reshape(-1, 3, 4, 6))

    def test_pictures_of_several_sizes_and_outputs(self) -> None:
        small, large = torch.rand(3, 4, 4), torch.rand(1, 3, 8, 8)
        found = read({"pixel_values": [[small], [large]], "high_res_pixel_values": large})
        assert_frames(found, small, large[0], large[0])

    def test_masks_are_no_pictures(self) -> None:
        pictures = torch.rand(1, 3, 4, 4)
        found = read({"image_pixel_values": pictures, "image_attention_mask": torch.ones(1, 2, 2)})
        assert_frames(found, pictures[0])


sizes = st.integers(1, 4)


class TestPatches:
    @given(rows=sizes, columns=sizes, side=sizes, moments=st.integers(1, 2), merge=sizes)
    def test_blocks_that_are_merged(
        self, rows: int, columns: int, side: int, moments: int, merge: int
    ) -> None:
        frame = picture(rows * merge, columns * merge, side)
        patches = [
            patch(frame, row * merge + inner, column * merge + beside, side)[:, None]
            .expand(3, moments, side, side)
            .reshape(-1)
            for row in range(rows)
            for column in range(columns)
            for inner in range(merge)
            for beside in range(merge)
        ]
        outputs = {
            "pixel_values": torch.stack(patches),
            "image_grid_thw": torch.tensor([[1, rows * merge, columns * merge]]),
        }
        assert_frames(read(outputs, patch_size=side, merge_size=merge), frame)

    @given(rows=sizes, columns=sizes, side=sizes)
    def test_row_by_row_on_a_grid(self, rows: int, columns: int, side: int) -> None:
        frames = [picture(rows, columns, side, seed) for seed in (0, 1)]
        patches = torch.stack(
            [
                patch(frame, row, column, side)
                for frame in frames
                for row in range(rows)
                for column in range(columns)
            ]
        )
        grids = torch.tensor([[1, rows, columns]] * 2)
        assert_frames(read({"pixel_values": patches, "image_grid_thw": grids}), *frames)
        flat = {"pixel_values": patches.flatten(1), "image_grid_thw": grids}
        assert_frames(read(flat, "rows", patch_size={"height": side}, merge_size=2), *frames)

    @given(rows=sizes, columns=sizes, side=sizes, padding=st.integers(0, 3), seed=st.integers(0, 9))
    def test_colours_last(
        self, rows: int, columns: int, side: int, padding: int, seed: int
    ) -> None:
        frame = picture(rows, columns, side)
        places = [(row, column) for row in range(rows) for column in range(columns)]
        patches = [patch(frame, *place, side).permute(1, 2, 0).reshape(-1) for place in places]
        blank = [torch.zeros(3 * side * side)] * padding
        in_rows = torch.stack([*patches, *blank])[None]
        shapes = torch.tensor([[rows, columns]])
        assert_frames(read({"pixel_values": in_rows, "spatial_shapes": shapes}), frame)
        order = np.random.default_rng(seed).permutation(len(places))
        shuffled = torch.stack([*(patches[i] for i in order), *blank])[None]
        at = [[places[i][1], places[i][0]] for i in order] + [[-1, -1]] * padding
        positions = {"pixel_values": shuffled, "image_position_ids": torch.tensor([at])}
        assert_frames(read(positions), frame)

    @given(rows=sizes, side=sizes)
    def test_square_tiles(self, rows: int, side: int) -> None:
        frame = picture(rows, rows, side)
        patches = [
            patch(frame, row, column, side).permute(1, 2, 0).reshape(-1)
            for row in range(rows)
            for column in range(rows)
        ]
        outputs = {"pixel_values": torch.stack(patches)[None], "image_token_pooling": torch.ones(1)}
        assert_frames(read(outputs), frame)

    @given(shapes=st.lists(st.tuples(sizes, sizes), min_size=1, max_size=3), side=sizes)
    def test_strips(self, shapes: list[tuple[int, int]], side: int) -> None:
        frames = [picture(*shape, side, seed) for seed, shape in enumerate(shapes)]
        strip = torch.cat(
            [
                patch(frame, row, column, side)
                for frame, (rows, columns) in zip(frames, shapes, strict=True)
                for row in range(rows)
                for column in range(columns)
            ],
            dim=2,
        )[None]
        outputs = {"pixel_values": strip, "target_sizes": torch.tensor(shapes)}
        assert_frames(read(outputs), *frames)


GRID = torch.tensor([[1, 2, 2]])


class TestRefused:
    @pytest.mark.parametrize(
        ("outputs", "says"),
        [
            ({"input_ids": torch.ones(1, 4)[0]}, "no picture"),
            ({"pixel_values": torch.rand(1, 4, 4, 4)}, "shape"),
            ({"pixel_values": torch.rand(9, 12)}, "shape"),
            ({"pixel_values": torch.full((1, 3, 4, 4), torch.nan)}, "not a number"),
            ({"pixel_values": torch.rand(1, 3, 4, 4), "features": torch.rand(2, 4)}, "features"),
            ({"pixel_values": torch.rand(5, 12), "image_grid_thw": GRID}, "more patches"),
            ({"pixel_values": torch.rand(3, 12), "image_grid_thw": GRID}, "fewer patches"),
            ({"pixel_values": torch.rand(4, 13), "image_grid_thw": GRID}, "still"),
            ({"pixel_values": torch.rand(4, 12), "image_grid_thw": GRID * 2}, "still"),
            ({"pixel_values": torch.rand(1, 3, 12), "spatial_shapes": GRID[:, 1:]}, "fewer"),
            ({"pixel_values": torch.rand(1, 4, 13), "spatial_shapes": GRID[:, 1:]}, "square"),
            ({"pixel_values": torch.rand(1, 3, 12), "image_token_pooling": GRID}, "square"),
            ({"pixel_values": torch.rand(1, 3, 2, 6), "target_sizes": GRID[:, 1:]}, "fewer"),
            (
                {
                    "pixel_values": torch.rand(1, 3, 12),
                    "image_position_ids": torch.tensor([[[0, 0], [1, 1], [0, 1]]]),
                },
                "rectangle",
            ),
        ],
    )
    def test_what_cannot_be_read(self, outputs: dict[str, Any], says: str) -> None:
        with pytest.raises(UnknownLayout, match=says):
            read(outputs, patch_size=2, merge_size=2)
