"""Dense patches: the tokens of an image tower, so that one pass gives many patches.

The output of the last block is projected into the space of the words as the class token is. CLIP's
training does not ask this of tokens, and each of them also sees the rest of its window. How well
they serve depends on the tower: measure it before use (python -m benchmarks.detection.readings).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from open_clip.transformer import VisionTransformer
from torch import Tensor

from guardalign_middleware.errors import ConfigError


def grid_side(tower: Any) -> int:
    """Tokens along each side of a tower's input.

    Raises:
        ConfigError: the tower has no tokens that can be projected: it is no vision transformer of
            open_clip, or does not pool by its class token.
    """
    known = (
        isinstance(tower, VisionTransformer)
        and tower.pool_type == "tok"
        and tower.attn_pool is None
        and not tower.final_ln_after_pool
        and tower.proj is not None
    )
    if not known or tower.grid_size[0] != tower.grid_size[1]:
        raise ConfigError(
            f"patches.layout dense needs a ViT with a class token. The encoder's image tower is a "
            f"{type(tower).__name__} of another kind.",
            remedy="Set patches.layout to crops, or choose a CLIP ViT.",
        )
    return int(tower.grid_size[0])


def window_tokens(tower: Any, pixels: Tensor) -> Tensor:
    """Projected tokens of the last block.

    Args:
        tower: one that `grid_side` accepts.
        pixels: normalised windows `[M, 3, S, S]`.

    Returns:
        `[M, g, g, D]`, not normalised.
    """
    side = grid_side(tower)
    hidden = tower.transformer(tower._embeds(pixels))
    projected: Tensor = tower.ln_post(hidden)[:, 1:] @ tower.proj
    return projected.reshape(len(pixels), side, side, -1)


def cell_boxes(windows: NDArray[np.int64], cells: int) -> NDArray[np.int64]:
    """The boxes of the tokens of square windows, row by row.

    Together they cover their window; where its side is no multiple of `cells`, they overlap by a
    pixel, so that all of one window are of one size.

    Args:
        windows: int64 `[W, 4]`.
        cells: tokens along each side.

    Returns:
        int64 `[W * cells², 4]`.

    Examples:
        >>> cell_boxes(np.array([[10, 0, 14, 4]]), 2).tolist()
        [[10, 0, 12, 2], [12, 0, 14, 2], [10, 2, 12, 4], [12, 2, 14, 4]]
    """
    side = (windows[:, 2] - windows[:, 0])[:, None]
    length = -(-side // cells)
    starts = np.minimum(np.arange(cells) * side // cells, side - length)
    rows, columns = np.divmod(np.arange(cells * cells), cells)
    left, top = windows[:, :1] + starts[:, columns], windows[:, 1:2] + starts[:, rows]
    return np.stack([left, top, left + length, top + length], axis=-1).reshape(-1, 4)
