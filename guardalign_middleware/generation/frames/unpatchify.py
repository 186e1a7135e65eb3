"""What a processor hands to the model, as a list of frames.

Processors give plain pictures, with any leading dimensions, or patches in one of a few orders. The
names and shapes of their outputs tell which; no family is known by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

PatchOrder = Literal["merged", "rows"]
"""Order of patches on a grid: blocks that the model merges one after another, or row by row."""


class UnknownLayout(Exception):
    """The outputs cannot be read as pictures; the message says why."""


@dataclass(frozen=True, eq=False)
class RawFrame:
    """A frame as the model gets it.

    Attributes:
        key: the output that it stood in.
        values: float32 `[3, h, w]`, normalised as the model expects.
    """

    key: str
    values: Tensor


def raw_frames(
    outputs: Mapping[str, Any], image_processor: Any, order: PatchOrder
) -> list[RawFrame]:
    """The frames of all pictures in a prompt, in the processor's order.

    Args:
        outputs: of the processor.
        image_processor: its `patch_size` and `merge_size` are read where patches do not tell.
        order: of patches with `image_grid_thw`.

    Raises:
        UnknownLayout: an output cannot be read.
    """
    keys = [key for key in outputs if _shows_pictures(key)]
    others = {key for key in outputs if key not in keys and not key.endswith("mask")}
    strange = [key for key in sorted(others) if _holds_floats(outputs[key])]
    if strange:
        raise UnknownLayout(f"the output {strange[0]!r} is not known to hold pictures or not")
    reader = _Reader(outputs, image_processor, order)
    frames = [
        RawFrame(key, values.float())
        for key in keys
        for tensor in _tensors(outputs[key])
        for values in reader.read(key, tensor)
    ]
    if not frames:
        raise UnknownLayout("the outputs hold no picture")
    if not all(bool(torch.isfinite(frame.values).all()) for frame in frames):
        raise UnknownLayout("the outputs hold a value that is not a number")
    return frames


def _shows_pictures(key: str) -> bool:
    return "pixel_values" in key


def _holds_floats(value: Any) -> bool:
    return any(tensor.is_floating_point() and tensor.ndim > 1 for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in an output; pictures of different sizes come as nested lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


@dataclass(frozen=True, eq=False)
class _Reader:
    outputs: Mapping[str, Any]
    image_processor: Any
    order: PatchOrder

    def read(self, key: str, tensor: Tensor) -> list[Tensor]:
        """The frames `[3, h, w]` in one tensor."""
        readers: dict[str, Callable[[Tensor, Tensor], list[Tensor]]] = {
            "image_grid_thw": self._on_grids,
            "image_position_ids": _at_positions,
            "spatial_shapes": _row_by_row,
            "target_sizes": _in_strips,
            "image_token_pooling": _in_squares,
        }
        for layout, reader in readers.items():
            if layout in self.outputs:
                return reader(tensor, torch.as_tensor(self.outputs[layout]))
        if tensor.ndim >= 3 and tensor.shape[-3] == 3:
            return list(tensor.reshape(-1, *tensor.shape[-3:]))
        raise UnknownLayout(f"{key} has the shape {list(tensor.shape)}")

    def _on_grids(self, patches: Tensor, grids: Tensor) -> list[Tensor]:
        """`[n, 3 * t * p * p]` or `[n, 3, p, p]`, with the patches of each picture on a grid.

        A still picture stands in all of its t moments.
        """
        side = patches.shape[-1] if patches.ndim == 4 else self._patch_side()
        flat = patches.reshape(len(patches), -1)
        moments, rest = divmod(flat.shape[1], 3 * side * side)
        sizes = [[int(number) for number in grid] for grid in grids.reshape(-1, 3)]
        if rest or not moments or any(t != 1 for t, _, _ in sizes):
            raise UnknownLayout("a grid of patches does not hold still pictures")
        merge = 1 if self.order == "rows" or patches.ndim == 4 else self._merge_side()
        frames, start = [], 0
        for _, rows, columns in sizes:
            part = flat[start : start + rows * columns]
            start += rows * columns
            if len(part) != rows * columns or rows % merge or columns % merge:
                raise UnknownLayout("there are fewer patches than their grid has places")
            blocks = part.reshape(
                rows // merge, columns // merge, merge, merge, 3, moments, side, side
            )[:, :, :, :, :, 0]
            frames.append(
                blocks.permute(4, 0, 2, 5, 1, 3, 6).reshape(3, rows * side, columns * side)
            )
        if start != len(flat):
            raise UnknownLayout("there are more patches than their grids have places")
        return frames

    def _patch_side(self) -> int:
        return _number(self.image_processor, "patch_size")

    def _merge_side(self) -> int:
        for name in ("merge_size", "spatial_merge_size"):
            if hasattr(self.image_processor, name):
                return _number(self.image_processor, name)
        return 1


def _number(holder: Any, name: str) -> int:
    value = getattr(holder, name, None)
    if isinstance(value, int):
        return value
    try:
        return int(value["height"])  # type: ignore[index]
    except (TypeError, KeyError) as error:
        raise UnknownLayout(f"the image processor's {name} is {value!r}") from error


def _side(patches: Tensor) -> int:
    """Pixels along a square patch `[…, p * p * 3]`."""
    side = math.isqrt(patches.shape[-1] // 3)
    if side * side * 3 != patches.shape[-1]:
        raise UnknownLayout(f"patches of {patches.shape[-1]} numbers are not square")
    return side


def _on_canvas(patches: Tensor, rows: int, columns: int) -> Tensor:
    """`[rows * columns, p * p * 3]`, row by row, colours last → `[3, h, w]`."""
    side = _side(patches)
    if len(patches) < rows * columns:
        raise UnknownLayout("there are fewer patches than places")
    placed = patches[: rows * columns].reshape(rows, columns, side, side, 3)
    return placed.permute(4, 0, 2, 1, 3).reshape(3, rows * side, columns * side)


def _row_by_row(patches: Tensor, shapes: Tensor) -> list[Tensor]:
    """`[n, L, p * p * 3]` with `[n, 2]` rows and columns; the patches after those are padding."""
    if patches.ndim != 3 or len(patches) != len(shapes):
        raise UnknownLayout("patches and their shapes do not belong together")
    return [
        _on_canvas(each, int(rows), int(columns))
        for each, (rows, columns) in zip(patches, shapes.tolist(), strict=True)
    ]


def _at_positions(patches: Tensor, positions: Tensor) -> list[Tensor]:
    """`[n, L, p * p * 3]` with `[n, L, 2]` columns and rows; padding has negative ones."""
    if patches.ndim != 3 or positions.shape != (*patches.shape[:2], 2):
        raise UnknownLayout("patches and their positions do not belong together")
    frames = []
    for each, places in zip(patches, positions, strict=True):
        real = (places >= 0).all(dim=-1)
        columns, rows = (int(number) + 1 for number in places[real].amax(dim=0))
        at = places[real][:, 1] * columns + places[real][:, 0]
        if len(torch.unique(at)) != rows * columns or len(at) != rows * columns:
            raise UnknownLayout("the positions of the patches do not fill a rectangle")
        frames.append(_on_canvas(each[real][torch.argsort(at)], rows, columns))
    return frames


def _in_strips(strips: Tensor, shapes: Tensor) -> list[Tensor]:
    """`[1, 3, p, L * p]`: patches side by side, for `[n, 2]` rows and columns."""
    if strips.ndim != 4 or len(strips) != 1 or strips.shape[1] != 3:
        raise UnknownLayout(f"a strip of patches has the shape {list(strips.shape)}")
    side = strips.shape[2]
    frames, start = [], 0
    for rows, columns in shapes.reshape(-1, 2).tolist():
        part = strips[0, :, :, start : start + rows * columns * side]
        start += rows * columns * side
        if part.shape[-1] != rows * columns * side:
            raise UnknownLayout("there are fewer patches than places")
        placed = part.reshape(3, side, rows, columns, side).permute(0, 2, 1, 3, 4)
        frames.append(placed.reshape(3, rows * side, columns * side))
    return frames


def _in_squares(patches: Tensor, _: Tensor) -> list[Tensor]:
    """`[n, L, p * p * 3]`: square tiles of L patches, row by row."""
    if patches.ndim != 3:
        raise UnknownLayout(f"tiles of patches have the shape {list(patches.shape)}")
    across = math.isqrt(patches.shape[1])
    if across * across != patches.shape[1]:
        raise UnknownLayout(f"{patches.shape[1]} patches do not fill a square tile")
    return [_on_canvas(each, across, across) for each in patches]
