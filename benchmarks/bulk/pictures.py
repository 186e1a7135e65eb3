"""Many small pictures, some of them damaged: `python -m benchmarks.bulk.pictures DIR`.

Each is a pictograph on a background of 64 × 64 pixels, as PNG, JPEG or WebP, in folders of a
thousand. Every hundredth is damaged: cut short, overwritten, or no picture behind its first bytes.
The same number gives the same file. The thresholds of `preset.yaml` were fitted on other ones:

    python -m benchmarks.bulk.pictures --labelled DIR
    guardalign calibrate --preset benchmarks/bulk/preset.yaml --safe DIR/safe --unsafe DIR/unsafe \
        --out benchmarks/bulk/profile.json
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from guardalign_middleware.mini.world import (
    HELD_OUT_BACKGROUNDS,
    concepts_of_style,
    draw_scene,
)

SIDE = 64
DAMAGED_EVERY = 100
_FOLDER = 1000
_STYLE = "noto"
_FORMATS = {"png": {}, "jpg": {"quality": 90}, "webp": {"quality": 90}}
_SEED = 64_064


def is_damaged(number: int) -> bool:
    """Whether the picture of this number cannot be read."""
    return number % DAMAGED_EVERY == DAMAGED_EVERY // 2


def place(number: int) -> str:
    """Where the picture of this number lies, relative to the folder of all."""
    ending = list(_FORMATS)[number % len(_FORMATS)]
    return f"{number // _FOLDER:04d}/{number:07d}.{ending}"


def draw(number: int, *, unsafe: bool | None = None) -> bytes:
    """The file of this number.

    Args:
        number: from which everything follows.
        unsafe: whether it shows something unsafe; None = one in ten does.
    """
    rng = np.random.default_rng((_SEED, number))
    if unsafe is None:
        unsafe = bool(rng.random() < 0.1)
    concepts = [one for one in concepts_of_style(_STYLE) if bool(one.unsafe) == unsafe]
    scene = draw_scene(
        rng,
        [concepts[int(rng.integers(len(concepts)))]],
        width=SIDE,
        height=SIDE,
        item_sides=(30, 50),
        backgrounds=HELD_OUT_BACKGROUNDS,
        styles=(_STYLE,),
    )
    ending = place(number).rpartition(".")[2]
    buffer = io.BytesIO()
    kind = "JPEG" if ending == "jpg" else ending.upper()
    Image.fromarray(scene.pixels).save(buffer, kind, **_FORMATS[ending])
    file = buffer.getvalue()
    return _damaged(file, number) if is_damaged(number) else file


def make(folder: Path, count: int, workers: int) -> Iterator[None]:
    """Write the pictures that are not there yet; yields after each thousand."""
    starts = range(0, count, _FOLDER)
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(partial(_make_thousand, folder, count), starts)


def make_labelled(folder: Path) -> None:
    """Write pictures to calibrate on: other ones, in folders `safe` and `unsafe`."""
    for name, count, first in (("safe", 600, 10_000_000), ("unsafe", 300, 11_000_000)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            if not is_damaged(number):
                path = folder / name / Path(place(number)).name
                path.write_bytes(draw(number, unsafe=name == "unsafe"))


def _make_thousand(folder: Path, count: int, start: int) -> None:
    (folder / place(start)).parent.mkdir(parents=True, exist_ok=True)
    for number in range(start, min(start + _FOLDER, count)):
        path = folder / place(number)
        if not path.exists():
            path.write_bytes(draw(number))


def _damaged(file: bytes, number: int) -> bytes:
    # Its first bytes stay, so it is taken for a picture.
    ways = (file[: len(file) // 2], file[:24] + bytes(len(file) - 24), file[:24] + b"no picture")
    return ways[number // DAMAGED_EVERY % len(ways)]


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--labelled", action="store_true", help="pictures to calibrate on instead")
    options = parser.parse_args()
    if options.labelled:
        make_labelled(options.folder)
        return
    thousands = make(options.folder, options.n, options.workers)
    for _ in track(thousands, "drawing", total=len(range(0, options.n, _FOLDER))):
        pass


if __name__ == "__main__":
    _main()
