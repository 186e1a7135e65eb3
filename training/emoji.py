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
_NAMES = "twemoji"  # its package maps characters to short names
# Pictures of something else (a ribbon, a domino, signs), or on a painted ground, which the encoder
# would learn as part of the thing.
_LEFT_OUT = {
    "firefox": ("bow", "dice", "cigarette", "sailboat", "rainbow", "ship", "volcano", "tent"),
}


@cache
def _read(package: str, file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / package / file).read_text())
    return content


@cache
def _icons(style: str) -> dict[str, dict[str, Any]]:
    """Icons of a style by name; hyphens are removed, because one set has none."""
    found = _read(PACKAGES[style], "icons.json")
    common = {key: found[key] for key in ("width", "height") if key in found}
    return {name.replace("-", ""): common | icon for name, icon in found["icons"].items()}


def draw_emoji(style: str, concept: Concept) -> Image.Image | None:
    """The picture of a concept, `_SIDE` pixels square; None if the style lacks it."""
    if concept.name in _LEFT_OUT.get(style, ()):
        return None
    icons = _icons(style)
    short = _read(_NAMES, "chars.json").get(f"{ord(concept.character):x}", "")
    full = unicodedata.name(concept.character).lower().replace(" ", "")
    keys = [name.replace("-", "") for name in (short, full, concept.name)]
    icon = next((icons[key] for key in keys if key in icons), None)
    if icon is None:
        return None
    width, height = icon.get("width", 16), icon.get("height", 16)
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}"'
    svg = f'{head} width="{width}" height="{height}">{icon["body"]}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=svg, width=_SIDE, height=_SIDE)
    return Image.open(io.BytesIO(png)).convert("RGBA")
