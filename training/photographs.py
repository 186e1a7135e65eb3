"""Photographs as backgrounds, from packages that ship some: none is copied into this repository.

matplotlib is a development dependency; scikit-image and scikit-learn are used where installed.
Their files are read without importing them. Each package states the licence of its pictures.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FILES: dict[str, tuple[str, ...]] = {
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
    "skimage": (
        "data/astronaut.png",
        "data/camera.png",
        "data/chelsea.png",
        "data/coffee.png",
        "data/rocket.jpg",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
"""Package → photographs, relative to its folder."""
_SMALLEST_WINDOW = 0.5


def installed() -> tuple[Path, ...]:
    """The photographs of `FILES` that are on this machine.

    Raises:
        FileNotFoundError: there is none.
    """
    found = []
    for package, files in FILES.items():
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            found += [path for name in files if (path := Path(folder) / name).is_file()]
    if not found:
        raise FileNotFoundError(f"No photographs: install one of {', '.join(FILES)}.")
    return tuple(found)


@cache
def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def photograph(
    rng: np.random.Generator, path: Path, width: int, height: int
) -> NDArray[np.float32]:
    """A random window of a photograph, mirrored or not, as float32 `[height, width, 3]` in [0, 1].

    Args:
        rng: places the window, at half the largest size or more.
        path: of the photograph.
        width: of the result in pixels; its aspect is kept.
        height: of the result in pixels.
    """
    picture = _opened(path)
    largest = min(picture.width / width, picture.height / height)
    scale = largest * rng.uniform(_SMALLEST_WINDOW, 1.0)
    left = rng.uniform(0, picture.width - scale * width)
    top = rng.uniform(0, picture.height - scale * height)
    box = (left, top, left + scale * width, top + scale * height)
    window = picture.resize((width, height), Image.Resampling.BICUBIC, box=box)
    pixels = np.asarray(window, dtype=np.float32) / np.float32(255)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
