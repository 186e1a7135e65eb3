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
from functools import cache
from pathlib import Path

from PIL import Image

from guardalign_middleware.mini.world.sprites import COLUMNS, Atlas
from training.atlas import on_square
from training.emoji import IconSet

PACKAGES = ("mdi", "tabler", "ph", "game-icons")
_TABLE = Path(__file__).with_suffix(".csv")
_ATLAS = Path(__file__).with_suffix(".png")
_SIDE = 64


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
    """The atlas: the opacity of each drawing.

    Raises:
        KeyError: a package has no such icon.
    """
    sets = {package: IconSet(package) for package in PACKAGES}
    names = icon_strangers()
    atlas = Image.new("L", (COLUMNS * _SIDE, -(-len(names) // COLUMNS) * _SIDE))
    for index, name in enumerate(names):
        package, icon = name.split("/")
        drawn = on_square(sets[package].picture(icon), _SIDE)
        if drawn is None:
            raise ValueError(f"The icon {name!r} is empty. Take it from the table.")
        place = ((index % COLUMNS) * _SIDE, (index // COLUMNS) * _SIDE)
        atlas.paste(drawn.getchannel("A"), place)
    return atlas


def main() -> None:
    """Write the atlas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=_ATLAS)
    options = parser.parse_args()
    render().save(options.out, optimize=True)


if __name__ == "__main__":
    main()
