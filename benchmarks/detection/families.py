"""The families of the runner presets: decoder, and the frames and tokens they get of a picture.

Figures of the decoders are those of the published config.json of each preset's model. Frames and
tokens follow the processors of transformers, with their published settings, so that no weights and
no pictures are needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from transformers.image_processing_utils import select_best_resolution
from transformers.models.got_ocr2.image_processing_got_ocr2 import (
    get_optimal_tiled_canvas as tiled_canvas,
)
from transformers.models.mllama.image_processing_mllama import (
    get_image_size_fit_to_canvas,
    get_optimal_tiled_canvas,
)
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from benchmarks.detection.roofline import Decoder

Size = tuple[int, int]
"""Width and height, in pixels."""


@dataclass(frozen=True)
class Seen:
    """How a model gets a picture.

    Attributes:
        frames: without padding; the tiles of one scale are one frame.
        tokens: of the picture in the prompt, or of its tiles for cross-attention.
        cropped: the frames show the middle square of the picture, not all of it.
    """

    frames: tuple[Size, ...]
    tokens: int
    cropped: bool = False


@dataclass(frozen=True)
class Family:
    """The model of a runner preset.

    Attributes:
        decoder: its language model.
        seen: how it gets a picture of a width and a height.
        view: that in a few words.
    """

    decoder: Decoder
    seen: Callable[[int, int], Seen]
    view: str


def _cropped(width: int, height: int) -> Seen:
    """LLaVA-1.5: the middle square, 24 × 24 tokens."""
    return Seen(((336, 336),), 576, cropped=True)


def _squashed(width: int, height: int) -> Seen:
    """Gemma 3: a square of 896 pixels, pooled to 256 tokens."""
    return Seen(((896, 896),), 256)


def _letterboxed_tiles(
    width: int, height: int, *, grids: list[Size], tile: int, patches: int, most: int | None
) -> Seen:
    """LLaVA-NeXT and OneVision: fitted into the best canvas, and squashed into one tile.

    Args:
        width: of the picture.
        height: of the picture.
        grids: tiles across and down of each canvas.
        tile: side of a tile, in pixels.
        patches: tokens along a tile's side.
        most: tiles whose tokens are kept; more are pooled. None = all.
    """
    canvases = [(down * tile, across * tile) for across, down in grids]
    high, wide = select_best_resolution((height, width), canvases)
    scale = min(wide / width, high / height)
    frame = min(math.ceil(width * scale), wide), min(math.ceil(height * scale), high)
    across, down = (length * patches // tile for length in (wide, high))
    if width / height > across / down:
        down -= (down - int(round(height * (across / width), 7))) // 2 * 2
    else:
        across -= (across - int(round(width * (down / height), 7))) // 2 * 2
    pooled = math.sqrt(across * down / (most * patches**2)) if most else 1.0
    if pooled > 1.1:
        across, down = int(across // pooled), int(down // pooled)
    # A token ends each row.
    return Seen((frame, (tile, tile)), patches**2 + (across + 1) * down)


def _llava_next(width: int, height: int) -> Seen:
    grids = [(2, 1), (1, 2), (2, 2), (1, 3), (3, 1)]
    return _letterboxed_tiles(width, height, grids=grids, tile=336, patches=24, most=None)


def _onevision(width: int, height: int) -> Seen:
    grids = [(across, down) for down in range(1, 7) for across in range(1, 7)]
    return _letterboxed_tiles(width, height, grids=grids, tile=384, patches=27, most=9)


def _internvl(width: int, height: int) -> Seen:
    """Squashed into the grid of at most 12 tiles nearest to its shape, and into one tile."""
    across, down = tiled_canvas((height, width), (448, 448), 1, 12)
    tiles = across * down
    if tiles == 1:
        return Seen(((448, 448),), 256)
    return Seen(((across * 448, down * 448), (448, 448)), 256 * (tiles + 1))


def _smolvlm(width: int, height: int) -> Seen:
    """The longer side to 1536, both sides up to whole tiles of 384, and squashed into one tile."""
    across, down = (
        max(1, math.ceil(length * 1536 / max(width, height) / 384)) for length in (width, height)
    )
    return Seen(((across * 384, down * 384), (384, 384)), 81 * (across * down + 1))


def _llama_vision(width: int, height: int) -> Seen:
    """Fitted into a canvas of at most four tiles; cross-attention reads all four."""
    high, wide = get_optimal_tiled_canvas(height, width, 4, 560)
    tall, broad = get_image_size_fit_to_canvas(height, width, high, wide, 560)
    return Seen(((int(broad), int(tall)),), 4 * 1601)


def _native(width: int, height: int, *, token: int, least: int, most: int) -> Seen:
    """Qwen: in its own shape, sides to whole tokens, within a number of pixels."""
    tall, broad = smart_resize(height, width, factor=token, min_pixels=least, max_pixels=most)
    return Seen(((broad, tall),), (broad // token) * (tall // token))


def _qwen2_5(width: int, height: int) -> Seen:
    return _native(width, height, token=28, least=3_136, most=12_845_056)


def _qwen3(width: int, height: int) -> Seen:
    return _native(width, height, token=32, least=65_536, most=16_777_216)


FAMILIES = {
    "llava-1.5-7b": Family(
        Decoder(32, 4096, 32, 32, 128, 11_008, 32_064), _cropped, "middle square, 336"
    ),
    "llava-1.5-13b": Family(
        Decoder(40, 5120, 40, 40, 128, 13_824, 32_064), _cropped, "middle square, 336"
    ),
    "llava-next-8b": Family(
        Decoder(32, 4096, 32, 8, 128, 14_336, 128_320), _llava_next, "4 tiles of 336 + thumb"
    ),
    "llava-onevision-7b": Family(
        Decoder(28, 3584, 28, 4, 128, 18_944, 152_000), _onevision, "36 tiles of 384 + thumb"
    ),
    "llama-3.2-11b-vision": Family(
        Decoder(32, 4096, 32, 8, 128, 14_336, 128_256, cross_layers=8),
        _llama_vision,
        "4 tiles of 560",
    ),
    "internvl": Family(
        Decoder(28, 3584, 28, 4, 128, 18_944, 151_674), _internvl, "12 tiles of 448 + thumb"
    ),
    "qwen2.5-vl-7b": Family(
        Decoder(28, 3584, 28, 4, 128, 18_944, 152_064), _qwen2_5, "native, 12.8 M pixels"
    ),
    "qwen3-vl": Family(
        Decoder(36, 4096, 32, 8, 128, 12_288, 151_936), _qwen3, "native, 16.8 M pixels"
    ),
    "gemma-3": Family(Decoder(34, 2560, 8, 4, 256, 10_240, 262_208), _squashed, "squashed to 896"),
    "smolvlm": Family(
        Decoder(24, 2048, 32, 32, 64, 8_192, 49_155), _smolvlm, "tiles of 384 of 1536 + thumb"
    ),
}
"""By the name of the runner preset."""

FOREIGN = FAMILIES["llava-1.5-7b"]
"""Stands for a model that the guard does not know: the smallest request of 7B."""
