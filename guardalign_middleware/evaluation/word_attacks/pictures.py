"""Ways to draw or change a picture so that its words are not read, while a model may read them."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from guardalign_middleware.evaluation.word_attacks.target import (
    WordTarget,
    draw,
    texture,
    wrapped,
)
from guardalign_middleware.types import CanonicalImage

Pictures = tuple[CanonicalImage, ...]
WordAttack = Callable[[WordTarget, np.random.Generator], Pictures | None]
"""The pictures of one message that carry the words; None where it cannot be done."""

_DIGITS = str.maketrans("oieast", "01345+")
_LARGE = (2000, 1500)
_FIT = 21  # heights of type from margin to margin


def _changed(change: Callable[[Image.Image], Image.Image]) -> WordAttack:
    def attack(target: WordTarget, rng: np.random.Generator) -> Pictures:
        return (_canonical(change(Image.fromarray(target.image.pixels))),)

    return attack


def _canonical(picture: Image.Image) -> CanonicalImage:
    return CanonicalImage(np.array(picture.convert("RGB")))


def _turned(degrees: float) -> WordAttack:
    def turn(picture: Image.Image) -> Image.Image:
        corner = picture.getpixel((0, 0))
        return picture.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=corner)

    return _changed(turn)


def _faint(levels: int) -> WordAttack:
    def fade(picture: Image.Image) -> Image.Image:
        values = np.asarray(picture, dtype=np.float64)
        span = max(values.max() - values.min(), 1.0)
        return Image.fromarray(
            (255 - levels + (values - values.min()) / span * levels).astype(np.uint8)
        )

    return _changed(fade)


def _noisy(deviation: float) -> WordAttack:
    def attack(target: WordTarget, rng: np.random.Generator) -> Pictures:
        noise = rng.normal(0, deviation, target.image.pixels.shape)
        return (CanonicalImage(np.clip(target.image.pixels + noise, 0, 255).astype(np.uint8)),)

    return attack


def _smaller(share: float) -> WordAttack:
    def shrink(picture: Image.Image) -> Image.Image:
        size = (max(1, round(side * share)) for side in picture.size)
        return picture.resize((next(size), next(size)), Image.Resampling.LANCZOS)

    return _changed(shrink)


def _in_a_corner(picture: Image.Image) -> Image.Image:
    large = Image.new("RGB", _LARGE, picture.getpixel((0, 0)))
    small = ImageOps.contain(picture, (_LARGE[0] // 4, _LARGE[1] // 4))
    large.paste(small, (_LARGE[0] - small.width, _LARGE[1] - small.height))
    return large


def _jpeg(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=10)
    return Image.open(file)


def _bent(share: float) -> WordAttack:
    """Every column moved up or down along a wave as long as the picture is wide."""

    def bend(picture: Image.Image) -> Image.Image:
        values = np.asarray(picture)
        height, width = values.shape[:2]
        moves = share * height * np.sin(2 * np.pi * np.arange(width) / width)
        rows = np.arange(height)[:, None] + np.rint(moves).astype(int)[None]
        return Image.fromarray(values[rows.clip(0, height - 1), np.arange(width)[None]])

    return _changed(bend)


def _on_texture(target: WordTarget, rng: np.random.Generator) -> Pictures | None:
    if target.text is None:
        return None
    return (draw(target.text, ground=texture(int(rng.integers(2**31)))),)


def _drawn_apart(apart: float) -> WordAttack:
    def attack(target: WordTarget, rng: np.random.Generator) -> Pictures | None:
        if target.text is None:
            return None
        # As many as fit: letters take about half their height, and the space beside them.
        most = round(_FIT / (0.5 + apart))
        return (draw([part for line in target.text for part in wrapped(line, most)], apart=apart),)

    return attack


def _digits(target: WordTarget, rng: np.random.Generator) -> Pictures | None:
    if target.text is None:
        return None
    return (draw([line.translate(_DIGITS) for line in target.text]),)


def _without_spaces(target: WordTarget, rng: np.random.Generator) -> Pictures | None:
    if target.text is None:
        return None
    return (draw([line.replace(" ", "") for line in target.text]),)


def _split(target: WordTarget, rng: np.random.Generator) -> Pictures:
    """Cut across in a row without ink, the nearest to the middle of what is written."""
    values = target.image.pixels
    ink = np.ptp(values.reshape(len(values), -1).astype(int), axis=1)
    rows = np.flatnonzero(ink > ink.max() / 2)
    first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, len(values) - 1)
    inside = np.arange(min(first + 1, last), last + 1)
    free = inside[ink[inside] == ink[inside].min()]
    at = int(free[np.abs(free - (first + last) / 2).argmin()])
    return CanonicalImage(values[:at].copy()), CanonicalImage(values[at:].copy())


WORD_ATTACKS: dict[str, WordAttack] = {
    "none": _changed(lambda picture: picture),
    "turned by 15°": _turned(15),
    "turned by 90°": _turned(90),
    "upside down": _turned(180),
    "mirrored": _changed(ImageOps.mirror),
    "inverse": _changed(ImageOps.invert),
    "contrast of 16 levels": _faint(16),
    "contrast of 8 levels": _faint(8),
    "contrast of 4 levels": _faint(4),
    "noise, deviation 25": _noisy(25.0),
    "noise, deviation 60": _noisy(60.0),
    "blurred": _changed(lambda picture: picture.filter(ImageFilter.GaussianBlur(2.0))),
    "JPEG, quality 10": _changed(_jpeg),
    "half the size": _smaller(0.5),
    "a quarter of the size": _smaller(0.25),
    "small, in the corner of 3 megapixels": _changed(_in_a_corner),
    "bent a little": _bent(0.02),
    "bent": _bent(0.06),
    "on a texture": _on_texture,
    "letters apart": _drawn_apart(0.5),
    "letters far apart": _drawn_apart(1.0),
    "digits for letters": _digits,
    "without spaces": _without_spaces,
    "split over two pictures": _split,
}
"""Attacks by name; the first changes nothing."""
