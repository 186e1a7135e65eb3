"""A page to write on, which remembers what was written on it and where."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from guardalign_middleware.words.line import WordLine

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
INK: Colour = (24, 24, 28)
_FACES = {
    "sans": "DejaVuSans",
    "sans bold": "DejaVuSans-Bold",
    "sans italic": "DejaVuSans-Oblique",
    "serif": "DejaVuSerif",
    "serif bold": "DejaVuSerif-Bold",
    "serif italic": "DejaVuSerif-Italic",
    "mono": "DejaVuSansMono",
    "mono bold": "DejaVuSansMono-Bold",
    "times": "STIXGeneral",
    "times bold": "STIXGeneralBol",
}
PAPERS: tuple[tuple[Colour, Colour, Colour], ...] = (
    (WHITE, INK, (30, 80, 160)),
    ((250, 246, 235), (50, 40, 30), (150, 60, 30)),
    ((28, 32, 40), (230, 232, 236), (120, 190, 255)),
    ((235, 244, 238), (20, 50, 35), (20, 110, 70)),
    ((255, 240, 214), (70, 30, 10), (200, 80, 20)),
    ((20, 60, 110), (245, 248, 252), (255, 214, 90)),
)
"""Ground, ink and accent of a page."""


@cache
def face(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that ships with matplotlib, so that every machine draws the same pictures."""
    folder = Path(get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{_FACES[name]}.ttf"), size)


@dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Attributes:
        name: differs for every picture of a set.
        design: what it looks like.
        image: RGB.
        lines: what was written, in the order of writing, as a reader without fault reads it.
    """

    name: str
    design: str
    image: Image.Image
    lines: tuple[WordLine, ...]

    @property
    def pixels(self) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """RGB `[H, W, 3]`."""
        return np.asarray(self.image, dtype=np.uint8)


class Page:
    """A page of `width` × `height` pixels in colours of its own."""

    def __init__(
        self, rng: random.Random, width: int, height: int, *, paper: int | None = None
    ) -> None:
        self.rng, self.width, self.height = rng, width, height
        self.ground, self.ink, self.accent = rng.choice(PAPERS) if paper is None else PAPERS[paper]
        self.image = Image.new("RGB", (width, height), self.ground)
        self.draw = ImageDraw.Draw(self.image)
        self.lines: list[WordLine] = []
        self.body = rng.choice(("sans", "serif", "times", "sans"))

    @property
    def bold(self) -> str:
        """The bold face of the body."""
        return f"{self.body} bold"

    def text(
        self,
        x: int,
        y: int,
        text: str,
        size: int,
        *,
        font: str | None = None,
        fill: Colour | None = None,
        centre: bool = False,
    ) -> int:
        """Write one line with its top at y, and return where the next one may begin."""
        chosen = face(font or self.body, size)
        if centre:
            x -= round(chosen.getlength(text) / 2)
        self.draw.text((x, y), text, font=chosen, fill=fill or self.ink)
        x0, y0, x1, y1 = (round(value) for value in chosen.getbbox(text))
        box = (x + x0, y + y0, x + max(x1, x0 + 1), y + max(y1, y0 + 1))
        if text.strip():
            left, top, right, bottom = (float(value) for value in box)
            corners = ((left, top), (right, top), (right, bottom), (left, bottom))
            self.lines.append(WordLine(text, box, corners, 0.0, 1.0))
        return y + round(size * 1.35)

    def paragraph(
        self,
        x: int,
        y: int,
        text: str,
        size: int,
        width: int,
        *,
        font: str | None = None,
        fill: Colour | None = None,
    ) -> int:
        """Write text in lines of at most `width` pixels, and return where the next one begins."""
        chosen, line = face(font or self.body, size), ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and chosen.getlength(longer) > width:
                y = self.text(x, y, line, size, font=font, fill=fill)
                longer = word
            line = longer
        return self.text(x, y, line, size, font=font, fill=fill) if line else y

    def rule(self, y: int, x0: int = 20, x1: int | None = None) -> None:
        """A thin line across the page."""
        self.draw.line((x0, y, self.width - 20 if x1 is None else x1, y), fill=self.accent, width=2)

    def box(self, box: tuple[int, int, int, int], fill: Colour, *, radius: int = 0) -> None:
        """A filled box, with round corners if asked for."""
        self.draw.rounded_rectangle(box, radius, fill=fill)

    def done(self, name: str, design: str) -> Picture:
        """The finished picture."""
        return Picture(name, design, self.image, tuple(self.lines))
