"""Render the atlases of the strangers: `python -m training.strangers`.

Needs resvg-py and the npm packages of `PACKAGES`, installed in the working directory:
`npm install @iconify-json/{noto,fluent-emoji-flat,twemoji,noto-v1,fxemoji,openmoji,emojione}`.
The atlases are committed, as lossless WebP: a third smaller than PNG.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from guardalign_middleware.mini.world.sprites import ATLAS_FOLDER, COLUMNS
from guardalign_middleware.mini.world.strangers import HANDS, SIDE, STRANGERS
from training.atlas import on_square
from training.emoji import IconSet

PACKAGES = {
    "noto": "noto",
    "fluent": "fluent-emoji-flat",
    "twemoji": "twemoji",
    "blob": "noto-v1",
    "firefox": "fxemoji",
    "openmoji": "openmoji",
    "emojione": "emojione",
}
# Pictures of something else: a skull, a dialog, a face, a chain, nothing red, a computer mouse.
_LEFT_OUT = {
    "fluent": ("x-ray",),
    "firefox": ("window", "sunglasses", "linked-paperclips", "red-triangle-pointed-down"),
    "openmoji": ("scroll",),
}


def render(hand: str) -> Image.Image:
    """The atlas of one hand; cells without a drawing stay transparent."""
    icons = IconSet(PACKAGES[hand])
    rows = -(-len(STRANGERS) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * SIDE, rows * SIDE))
    for index, stranger in enumerate(STRANGERS):
        left_out = stranger.name in _LEFT_OUT.get(hand, ())
        picture = None if left_out else icons.draw(stranger.character)
        sprite = None if picture is None else on_square(picture, SIDE)
        if sprite is not None:
            atlas.paste(sprite, ((index % COLUMNS) * SIDE, (index // COLUMNS) * SIDE))
    return atlas


def main() -> None:
    """Write the atlases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ATLAS_FOLDER / "strangers")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for hand in HANDS:
        # `exact` keeps the colours of transparent pixels, which a turned sprite mixes in.
        render(hand).save(
            options.out / f"{hand}.webp", lossless=True, quality=100, method=6, exact=True
        )


if __name__ == "__main__":
    main()
