"""Render the sprite atlases of the pictograph world from fonts: `python -m training.atlas`.

Needs the Debian packages fonts-noto-color-emoji, fonts-symbola, fonts-unifont, ruby-gemojione (the
EmojiOne pictures), and for the icons fonts-materialdesignicons-webfont, fonts-fork-awesome and
fonts-noto-core. The atlases are committed, so nobody needs this to use, test or benchmark the
project.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from guardalign_middleware.mini.world.concepts import CONCEPTS
from guardalign_middleware.mini.world.sprites import ATLAS_FOLDER, COLUMNS, STYLES
from training.icons import glyphs

NOTO = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
SYMBOLA = "/usr/share/fonts/truetype/ancient-scripts/Symbola_hint.ttf"
UNIFONT = "/usr/share/fonts/opentype/unifont/unifont.otf"
UNIFONT_UPPER = "/usr/share/fonts/opentype/unifont/unifont_upper.otf"
EMOJIONE = "/usr/share/rubygems-integration/all/gems/gemojione-3.3.0/assets/png"

# Pixels of one dot; Unifont's glyphs are sixteen dots high.
_DOT = 8


def _square(picture: Image.Image, side: int) -> Image.Image | None:
    """Crop to the ink, pad to a square, resize; None when there is no ink."""
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
    """A glyph of square dots with its corners rounded; dots that touch at a corner stay joined."""
    alpha = bitmap.getchannel("A").filter(ImageFilter.GaussianBlur(0.55 * _DOT))
    smooth = Image.new("RGBA", bitmap.size)
    smooth.putalpha(alpha.point(lambda level: min(max(5 * (level - 85), 0), 255)))
    return smooth


def render(style: str) -> Image.Image:
    """The whole atlas of one style; cells without a glyph stay transparent."""
    side = STYLES[style].side
    rows = -(-len(CONCEPTS) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * side, rows * side))
    noto = ImageFont.truetype(NOTO, 109)
    symbola = ImageFont.truetype(SYMBOLA, 160)
    planes = [ImageFont.truetype(name, 16 * _DOT) for name in (UNIFONT, UNIFONT_UPPER)]
    missing_box = np.asarray(_glyph(symbola, "\U0010fffd", color=False))
    icons = glyphs({c.name: c.character for c in CONCEPTS}) if style == "icons" else {}
    for index, concept in enumerate(CONCEPTS):
        if style == "noto":
            picture = _glyph(noto, concept.character, color=True)
        elif style == "symbola":
            picture = _glyph(symbola, concept.character, color=False)
            if np.array_equal(np.asarray(picture), missing_box):
                continue
        elif style == "unifont":
            font = planes[ord(concept.character) > 0xFFFF]
            picture = _smooth(_glyph(font, concept.character, color=False))
        elif style == "icons":
            if concept.name not in icons:
                continue
            name, character = icons[concept.name]
            picture = _glyph(ImageFont.truetype(name, 160), character, color=False)
        else:
            path = Path(EMOJIONE) / f"{ord(concept.character):04X}.png"
            if not path.is_file():
                continue
            picture = Image.open(path).convert("RGBA")
        sprite = _square(picture, side)
        if sprite is not None:
            atlas.paste(sprite, ((index % COLUMNS) * side, (index // COLUMNS) * side))
    return atlas.getchannel("A") if STYLES[style].monochrome else atlas


def main() -> None:
    """Write the atlases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ATLAS_FOLDER)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for style in STYLES:
        render(style).save(out / f"{style}.png", optimize=True)


if __name__ == "__main__":
    main()
