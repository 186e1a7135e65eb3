"""Render the sprite atlases of the pictograph world from fonts: `python -m training.atlas`.

Needs the Debian packages fonts-noto-color-emoji, fonts-symbola, fonts-unifont, ruby-gemojione (the
EmojiOne pictures), for the icons fonts-materialdesignicons-webfont, fonts-fork-awesome and
fonts-noto-core, and for the other styles resvg-py and the npm packages listed in `training.emoji`.
The atlases are committed: using, testing and benchmarking the project needs none of this.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from guardalign_middleware.mini.world.concepts import CONCEPTS, Concept
from guardalign_middleware.mini.world.sprites import ATLAS_FOLDER, COLUMNS, STYLES
from training.emoji import PACKAGES, draw_emoji
from training.icons import glyphs

NOTO = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
SYMBOLA = "/usr/share/fonts/truetype/ancient-scripts/Symbola_hint.ttf"
UNIFONT = "/usr/share/fonts/opentype/unifont/unifont.otf"
UNIFONT_UPPER = "/usr/share/fonts/opentype/unifont/unifont_upper.otf"
EMOJIONE = "/usr/share/rubygems-integration/all/gems/gemojione-3.3.0/assets/png"

# Pixels per dot; Unifont's glyphs are 16 dots high.
_DOT = 8


def on_square(picture: Image.Image, side: int) -> Image.Image | None:
    """Crop to the ink, pad to a square and resize; None without ink."""
    box = picture.getbbox()
    if box is None:
        return None
    ink = picture.crop(box)
    longest = max(ink.size)
    canvas = Image.new("RGBA", (longest, longest))
    canvas.paste(ink, ((longest - ink.width) // 2, (longest - ink.height) // 2))
    return canvas.resize((side, side), Image.Resampling.LANCZOS)


def _glyph(font: ImageFont.FreeTypeFont, character: str, *, color: bool) -> Image.Image:
    picture = Image.new("RGBA", (2 * int(font.size), 2 * int(font.size)))
    draw = ImageDraw.Draw(picture)
    draw.text((font.size / 3, font.size / 4), character, font=font, embedded_color=color)
    return picture


def _smooth(bitmap: Image.Image) -> Image.Image:
    """Round the corners of a dotted glyph; dots that touch at a corner stay connected."""
    alpha = bitmap.getchannel("A").filter(ImageFilter.GaussianBlur(0.55 * _DOT))
    smooth = Image.new("RGBA", bitmap.size)
    smooth.putalpha(alpha.point(lambda level: min(max(5 * (level - 85), 0), 255)))
    return smooth


_font = cache(ImageFont.truetype)


def _noto(concept: Concept) -> Image.Image | None:
    return _glyph(_font(NOTO, 109), concept.character, color=True)


@cache
def _missing_box() -> Image.Image:
    """Symbola's picture of a missing glyph."""
    return _glyph(_font(SYMBOLA, 160), "\U0010fffd", color=False)


def _symbola(concept: Concept) -> Image.Image | None:
    picture = _glyph(_font(SYMBOLA, 160), concept.character, color=False)
    return None if picture == _missing_box() else picture


def _unifont(concept: Concept) -> Image.Image | None:
    plane = UNIFONT_UPPER if ord(concept.character) > 0xFFFF else UNIFONT
    return _smooth(_glyph(_font(plane, 16 * _DOT), concept.character, color=False))


@cache
def _icons() -> dict[str, tuple[str, str]]:
    return glyphs({concept.name: concept.character for concept in CONCEPTS})


def _icon(concept: Concept) -> Image.Image | None:
    if concept.name not in _icons():
        return None
    name, character = _icons()[concept.name]
    return _glyph(_font(name, 160), character, color=False)


def _emojione(concept: Concept) -> Image.Image | None:
    path = Path(EMOJIONE) / f"{ord(concept.character):04X}.png"
    return Image.open(path).convert("RGBA") if path.is_file() else None


_DRAWN: dict[str, Callable[[Concept], Image.Image | None]] = {
    "noto": _noto,
    "symbola": _symbola,
    "unifont": _unifont,
    "icons": _icon,
    "emojione": _emojione,
    **{style: partial(draw_emoji, style) for style in PACKAGES},
}


def render(style: str) -> Image.Image:
    """The atlas of one style; cells without a glyph stay transparent."""
    side = STYLES[style].side
    rows = -(-len(CONCEPTS) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * side, rows * side))
    for index, concept in enumerate(CONCEPTS):
        picture = _DRAWN[style](concept)
        sprite = None if picture is None else on_square(picture, side)
        if sprite is not None:
            atlas.paste(sprite, ((index % COLUMNS) * side, (index // COLUMNS) * side))
    return atlas.getchannel("A") if STYLES[style].monochrome else atlas


def main() -> None:
    """Write the atlases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ATLAS_FOLDER)
    parser.add_argument("--styles", nargs="+", default=list(STYLES), choices=STYLES)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for style in options.styles:
        render(style).save(options.out / f"{style}.png", optimize=True)


if __name__ == "__main__":
    main()
