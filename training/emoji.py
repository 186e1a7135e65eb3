"""Emoji from icon sets: the styles `fluent`, `twemoji`, `blob` and `firefox`.

The SVG pictures come from Iconify's npm packages, installed in the working directory:
`npm install @iconify-json/{fluent-emoji-flat,twemoji,noto-v1,fxemoji}`. The sets name a picture by
the short name or by the Unicode name of its character.
"""

from __future__ import annotations

import io
import json
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import resvg_py
from PIL import Image

from guardalign_middleware.mini.world.concepts import Concept

FOLDER = Path("node_modules/@iconify-json")
PACKAGES = {
    "fluent": "fluent-emoji-flat",
    "twemoji": "twemoji",
    "blob": "noto-v1",
    "firefox": "fxemoji",
}
_SIDE = 256
_XLINK = "http://www.w3.org/1999/xlink"
_NAMES = "twemoji"  # its package maps characters to short names
# Pictures of something else (a ribbon, a domino, signs), or on a painted ground, which the encoder
# would learn as part of the thing.
_LEFT_OUT = {
    "firefox": ("bow", "dice", "cigarette", "sailboat", "rainbow", "ship", "volcano", "tent"),
}


@cache
def _read(package: str, file: str) -> dict[str, Any]:
    path = FOLDER / package / file
    content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return content


class IconSet:
    """The pictures of one package.

    Args:
        package: its name under `FOLDER`.
    """

    def __init__(self, package: str) -> None:
        found = _read(package, "icons.json")
        common = {key: found[key] for key in ("width", "height") if key in found}
        icons = {name: common | icon for name, icon in found["icons"].items()}
        # Without hyphens, because one set has none.
        self._icons = {name.replace("-", ""): icon for name, icon in icons.items()}
        self._names = _read(package, "chars.json")

    def draw(self, character: str, *names: str) -> Image.Image | None:
        """The picture of a character, `_SIDE` pixels square; None if the set lacks it.

        Args:
            character: found by its code, its short name or its Unicode name.
            names: further names to look for.
        """
        code = f"{ord(character):x}"
        short = _read(_NAMES, "chars.json")
        full = unicodedata.name(character, "").lower().replace(" ", "")
        known = [table.get(key, "") for table in (self._names, short) for key in _codes(code)]
        keys = [name.replace("-", "") for name in (*known, full, *names)]
        found = next((key for key in keys if key in self._icons), None)
        return None if found is None else self.picture(found)

    def picture(self, name: str) -> Image.Image:
        """The picture of this name in the set, `_SIDE` pixels square.

        Raises:
            KeyError: the set has none.
        """
        icon = self._icons[name.replace("-", "")]
        width, height = icon.get("width", 16), icon.get("height", 16)
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="{_XLINK}" viewBox="{box}"'
        svg = f'{head} width="{width}" height="{height}">{icon["body"]}</svg>'
        png = resvg_py.svg_to_bytes(svg_string=svg, width=_SIDE, height=_SIDE)
        return Image.open(io.BytesIO(png)).convert("RGBA")


def _codes(code: str) -> tuple[str, str]:
    """Some tables name the coloured form of a character by its variation selector."""
    return code, f"{code}-fe0f"


_sets = cache(IconSet)


def draw_emoji(style: str, concept: Concept) -> Image.Image | None:
    """The picture of a concept; None if the style lacks it."""
    if concept.name in _LEFT_OUT.get(style, ()):
        return None
    return _sets(PACKAGES[style]).draw(concept.character, concept.name)
