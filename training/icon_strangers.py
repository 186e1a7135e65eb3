"""Icons of harmless things that resemble the unsafe ones: hard negatives of training only.

The strangers of the world are few of a kind, so an encoder learns them by heart. Icons of cups,
pens, spoons, balls and boxes by four more hands show it what such things have in common. They are
monochrome; training colours them in. None of them shows a stranger that is fitted on or reported.

`python -m training.icon_strangers` renders the atlas. It needs resvg-py and the npm packages of
`PACKAGES`, installed in the working directory:
`npm install @iconify-json/{mdi,tabler,ph,game-icons}`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from functools import cache
from pathlib import Path

from PIL import Image

from guardalign_middleware.mini.world.sprites import COLUMNS, Atlas
from training.atlas import on_square

PACKAGES = ("mdi", "tabler", "ph", "game-icons")
_TABLE = Path(__file__).with_suffix(".csv")
_ATLAS = Path(__file__).with_suffix(".png")
_SIDE = 64
_DRAWN = 256


@cache
def icon_strangers() -> tuple[str, ...]:
    """Their names, "package/icon", in the order of the atlas."""
    with _TABLE.open(encoding="utf-8", newline="") as lines:
        return tuple(f"{row['package']}/{row['icon']}" for row in csv.DictReader(lines))


@cache
def _atlas() -> Atlas:
    return Atlas(_ATLAS, icon_strangers(), _SIDE)


def icon_stranger(name: str) -> Image.Image:
    """The black drawing, RGBA, 64 pixels square."""
    cell = _atlas().cell(name)
    if cell is None:
        raise ValueError(f"The atlas has no drawing of {name!r}. Render it again.")
    return cell


def render() -> Image.Image:
    """The atlas: the opacity of each drawing."""
    import resvg_py  # only rendering needs it

    sets = {
        package: json.loads(Path(f"node_modules/@iconify-json/{package}/icons.json").read_text())
        for package in PACKAGES
    }
    names = icon_strangers()
    atlas = Image.new("L", (COLUMNS * _SIDE, -(-len(names) // COLUMNS) * _SIDE))
    for index, name in enumerate(names):
        package, icon = name.split("/")
        found = sets[package]
        drawn = {"width": found.get("width", 16), "height": found.get("height", 16)}
        drawn |= found["icons"][icon]
        head = '<svg xmlns="http://www.w3.org/2000/svg" color="black"'
        box = f'viewBox="0 0 {drawn["width"]} {drawn["height"]}" width="{_DRAWN}" height="{_DRAWN}"'
        svg = f"{head} {box}>{drawn['body']}</svg>"
        png = resvg_py.svg_to_bytes(svg_string=svg, width=_DRAWN, height=_DRAWN)
        picture = on_square(Image.open(io.BytesIO(png)).convert("RGBA"), _SIDE)
        if picture is None:
            raise ValueError(f"The icon {name!r} is empty. Take it from the table.")
        place = ((index % COLUMNS) * _SIDE, (index // COLUMNS) * _SIDE)
        atlas.paste(picture.getchannel("A"), place)
    return atlas


def main() -> None:
    """Write the atlas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=_ATLAS)
    options = parser.parse_args()
    render().save(options.out, optimize=True)


if __name__ == "__main__":
    main()
