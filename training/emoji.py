"""Emoji drawn by other hands than the fonts': the styles `fluent`, `twemoji`, `blob` and `firefox`.

The SVG pictures come from Iconify's packages of icon sets, installed where the command runs:
`npm install @iconify-json/{fluent-emoji-flat,twemoji,noto-v1,fxemoji}`. The sets name pictures
after Unicode's short names or after the characters' names.
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
_NAMES = "twemoji"  # its package tells which character each short name stands for
# A ribbon, a domino, signs; and things on a painted ground, which would be learned with them.
_LEFT_OUT = {
    "firefox": ("bow", "dice", "cigarette", "sailboat", "rainbow", "ship", "volcano", "tent"),
}


@cache
def _read(package: str, file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / package / file).read_text())
    return content


@cache
def _icons(style: str) -> dict[str, dict[str, Any]]:
    """Icons of a style by name, without hyphens: one set writes none."""
    found = _read(PACKAGES[style], "icons.json")
    common = {key: found[key] for key in ("width", "height") if key in found}
    return {name.replace("-", ""): common | icon for name, icon in found["icons"].items()}


def draw_emoji(style: str, concept: Concept) -> Image.Image | None:
    """The picture of a concept, `_SIDE` pixels square; None where the style has none."""
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
