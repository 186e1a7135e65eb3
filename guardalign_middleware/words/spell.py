"""What lines of words say: cut out, laid flat, and spelled by the second network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.words.find import FoundLine, box_of
from guardalign_middleware.words.models import ReadingModels, require_cv2

Strip = NDArray[np.uint8]
"""A line laid flat, `[48, W, 3]`."""

_HEIGHT, _LEAST_WIDTH, _MOST_WIDTH = 48, 32, 2400
# A line read worse than this is read again, turned. Upright words are rarely below it.
_SURE = 0.85
# A line that is hardly longer than high can run in four directions, and any other in two.
_LONG = 2.5
# Strips of less contrast are stretched, but noise of a level or two is not.
_CONTRAST, _LEAST_CONTRAST = 120.0, 2.0
# Letters stand apart if there are as many single ones, and as large a share of the words. Words do
# where the distance from letter to letter is as much wider than usual.
_FEWEST, _SINGLE, _WIDER = 3, 0.75, 1.4


@dataclass(frozen=True)
class Spelled:
    """What a line says.

    Attributes:
        text: without spaces around it; may be empty.
        confidence: mean probability of its characters, 0 to 1; 0 without any.
        turned: quarter turns, clockwise, from the way the line was cut out to the way it was read.
        spread: whether its letters stand apart, and only wider gaps between them are spaces.
        skipped: whether it could not be spelled in every direction within the allowance.
    """

    text: str
    confidence: float
    turned: int = 0
    spread: bool = False
    skipped: bool = False


def spell(
    pixels: NDArray[np.uint8], lines: Sequence[FoundLine], models: ReadingModels
) -> list[Spelled]:
    """Spell each line, in the direction in which it is read best, within the allowance.

    Args:
        pixels: of the picture, `[H, W, 3]`.
        lines: found in it.
        models: the networks, with what may be spelled.

    Raises:
        ValueError: a probability is NaN.
    """
    strips = [flat(pixels, line) for line in lines]
    best = _spell_all(strips, models)
    for turn in (2, 1, 3):
        again = [
            index
            for index, (line, spelled) in enumerate(zip(lines, best, strict=True))
            if spelled.confidence < _SURE and (turn == 2 or line.width < _LONG * line.height)
        ]
        turned = [_upright(np.rot90(strips[index], -turn)) for index in again]
        for index, other in zip(again, _spell_all(turned, models, again=True), strict=True):
            if other.skipped:
                best[index] = replace(best[index], skipped=True)
            elif other.confidence > best[index].confidence:
                best[index] = replace(other, turned=turn)
    return best


def spell_turned(
    pixels: NDArray[np.uint8], line: FoundLine, turned: int, models: ReadingModels
) -> Spelled:
    """Spell a line in one direction.

    Args:
        pixels: of the picture, `[H, W, 3]`.
        line: found in it.
        turned: quarter turns, clockwise, from the way the line is cut out.
        models: the networks.

    Raises:
        ValueError: a probability is NaN.
    """
    strip = _upright(np.rot90(flat(pixels, line), -turned))
    (spelled,) = _spell_all([strip], models)
    return replace(spelled, turned=turned)


def flat(pixels: NDArray[np.uint8], line: FoundLine) -> Strip:
    """Cut a line out and lay it flat, 48 pixels high and with the contrast of print."""
    cv2 = require_cv2()
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box_of(line, width, height)
    part = pixels[y0:y1, x0:x1]
    shrunk = min(1.0, 2 * _HEIGHT / max(line.height, 1.0))
    if shrunk < 1.0:
        # A warp takes single pixels: of large letters it would take edges only by chance.
        size = (max(1, round(part.shape[1] * shrunk)), max(1, round(part.shape[0] * shrunk)))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    scale = (part.shape[1] / (x1 - x0), part.shape[0] / (y1 - y0))
    columns = math.ceil(_HEIGHT * line.width / max(line.height, 1.0))
    target = np.array([(0, 0), (columns, 0), (columns, _HEIGHT), (0, _HEIGHT)], dtype=np.float32)
    source = ((np.array(line.corners) - (x0, y0)) * scale).astype(np.float32)
    strip = cv2.warpPerspective(
        part,
        cv2.getPerspectiveTransform(source, target),
        (max(columns, 1), _HEIGHT),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _stretched(strip)


def _stretched(strip: Strip) -> Strip:
    low, high = np.percentile(strip, (1.0, 99.0))
    if high - low >= _CONTRAST or high - low < _LEAST_CONTRAST:
        return strip
    values = (strip.astype(np.float32) - low) * (255.0 / (high - low))
    stretched: Strip = np.clip(values, 0.0, 255.0).astype(np.uint8)
    return stretched


def _upright(strip: Strip) -> Strip:
    """Resized to the height that the network knows."""
    if strip.shape[0] == _HEIGHT:
        return np.ascontiguousarray(strip)
    columns = max(1, math.ceil(strip.shape[1] * _HEIGHT / strip.shape[0]))
    resized: Strip = require_cv2().resize(np.ascontiguousarray(strip), (columns, _HEIGHT))
    return resized


def _spell_all(
    strips: Sequence[Strip], models: ReadingModels, *, again: bool = False
) -> list[Spelled]:
    """Spell strips within the allowance, one that is too wide in pieces."""
    found = []
    for strip in strips:
        if not models.allowance.takes(max(strip.shape[1], _LEAST_WIDTH), again=again):
            found.append(Spelled("", 0.0, skipped=True))
            continue
        characters, shares, places = list[str](), list[float](), list[int]()
        steps = 0
        # Each in a pass of its own: as a batch, strips would be filled up to the widest, which
        # takes longer and lets what a line says depend on the others.
        for piece in np.array_split(strip, math.ceil(strip.shape[1] / _MOST_WIDTH), axis=1):
            best, sure = _spell_one(piece, models)
            new = _new(best)
            characters += [models.characters[index] for index in best[new]]
            shares += sure[new].tolist()
            places += (np.flatnonzero(new) + steps).tolist()
            steps += len(best)
        confidence = float(np.mean(shares)) if shares else 0.0
        closed = _closed_up(characters, places)
        text = "".join(characters).strip() if closed is None else closed
        found.append(Spelled(text, confidence, spread=closed is not None))
    return found


def _spell_one(
    strip: Strip, models: ReadingModels
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The likeliest character at each place of a strip, and how likely it is."""
    columns = max(_LEAST_WIDTH, math.ceil(strip.shape[1] / 16) * 16)
    batch = np.zeros((1, 3, _HEIGHT, columns), dtype=np.float32)
    batch[0, :, :, : strip.shape[1]] = (
        strip[:, :, ::-1].astype(np.float32).transpose(2, 0, 1) / 127.5 - 1.0
    )
    shares = models.spell(batch)[0]
    best = shares.argmax(axis=1)
    sure = np.take_along_axis(shares, best[:, None], axis=1)[:, 0]
    if not np.isfinite(sure).all():
        raise ValueError("The network that spells gave NaN or infinity.")
    return best, sure


def _new(best: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Connectionist temporal classification: repeats are one character, and the first is none."""
    new: NDArray[np.bool_] = best != 0
    new[1:] &= best[1:] != best[:-1]
    return new


def _closed_up(characters: Sequence[str], places: Sequence[int]) -> str | None:
    """Letters that stand apart as words, with spaces where gaps are wider; None for other text."""
    words = "".join(characters).split()
    single = sum(len(word) == 1 and word.isalpha() for word in words)
    if single < _FEWEST or single < _SINGLE * len(words):
        return None
    signs = [(sign, place) for sign, place in zip(characters, places, strict=True) if sign != " "]
    gaps = [other - one for (_, one), (_, other) in pairwise(signs)]
    wide = _WIDER * float(np.median(gaps))
    text = signs[0][0]
    for gap, (sign, _) in zip(gaps, signs[1:], strict=True):
        text += f" {sign}" if gap > wide else sign
    return text
