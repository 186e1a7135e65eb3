"""Draw a verdict on its image: what was found, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from guardalign_middleware.boxes import intersection
from guardalign_middleware.heat_picture import HEAT_OPACITY, heat_color, heat_strength
from guardalign_middleware.types import (
    Box,
    CanonicalImage,
    Decision,
    Evidence,
    Level,
    Region,
    Verdict,
    WordsRead,
)

Color = tuple[int, int, int]

_SMALLEST_SIDE, _LARGEST_SIDE = 512, 1600
_SMALLEST_HEIGHT = 120
_MOST_LABELS = 12
_LABEL_SHARE = 0.6
_PADDING = 12

_STYLE: dict[Decision, tuple[str, Color]] = {
    "allow": ("ALLOWED", (22, 120, 62)),
    "observe": ("OBSERVED ONLY", (20, 96, 130)),
    "mask": ("MASKED", (176, 80, 0)),
    "block": ("BLOCKED", (170, 16, 30)),
}
_UNKNOWN: Color = (96, 60, 140)
_WHITE: Color = (255, 255, 255)
_BAR: Color = (28, 30, 34)
_BOX: Color = (235, 20, 45)
_REPORTED_BOX: Color = (20, 90, 200)


def draw_overlay(image: CanonicalImage, verdict: Verdict) -> Image.Image:
    """Draw the heat of the patches, the flagged boxes and the decision over an image.

    A bar above states the decision, the categories found, the distance and the threshold. Regions
    behind the decision are boxed in red. Regions that are only reported (action `flag`) are boxed
    in blue and counted apart, because the model still sees them. The heat of a pixel is that of
    `heat.pixel_heat` over all crops, transparent where all of them are far; the hottest pixel is as
    strong as the nearest crop. Half strength is the threshold, so an allowed image never turns deep
    red. The longer side is scaled to between 512 and 1600 pixels. At most 12
    boxes, the nearest, are labelled.

    Args:
        image: the scanned picture.
        verdict: the verdict on it.

    Returns:
        A new RGB picture, larger than the image by its bars.

    Raises:
        ValueError: the verdict is on a picture of another size, or a patch distance is not finite.
    """
    if (image.width, image.height) != (verdict.width, verdict.height):
        raise ValueError(
            f"image should be {verdict.width} x {verdict.height} as in the verdict. "
            f"Got {image.width} x {image.height}."
        )
    picture = _with_heat(_scaled(image.to_pil()), verdict)
    _draw_boxes(picture, verdict)
    width, height = max(picture.width, _SMALLEST_SIDE), max(picture.height, _SMALLEST_HEIGHT)
    stage = Image.new("RGB", (width, height), _BAR)
    left, top = (width - picture.width) // 2, (height - picture.height) // 2
    stage.paste(picture, (left, top))
    _draw_labels(stage, verdict, left, top, picture.size)
    header, footer = _header(verdict, width), _footer(verdict, width)
    canvas = Image.new("RGB", (width, header.height + height + footer.height), _BAR)
    canvas.paste(header, (0, 0))
    canvas.paste(stage, (0, header.height))
    canvas.paste(footer, (0, header.height + height))
    return canvas


def _scaled(picture: Image.Image) -> Image.Image:
    longest = max(picture.size)
    factor = min(max(longest, _SMALLEST_SIDE), _LARGEST_SIDE) / longest
    if factor == 1.0:
        return picture
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    # A tiny image stays a mosaic of its own pixels: smoothing would invent detail.
    method = Image.Resampling.NEAREST if factor >= 4 else Image.Resampling.LANCZOS
    return picture.resize(size, method)


def _with_heat(picture: Image.Image, verdict: Verdict) -> Image.Image:
    if not len(verdict.evidence.patch_distances):
        return picture
    heat = heat_strength(verdict).resize(picture.size, Image.Resampling.BICUBIC)
    strength = np.asarray(heat, dtype=np.float64)[..., None] / 255.0
    opacity = HEAT_OPACITY * strength
    mixed = (1.0 - opacity) * np.asarray(picture) + opacity * heat_color(strength[..., 0])
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _placed(box: Box, verdict: Verdict, size: tuple[int, int]) -> Box:
    """A box of the image in pixels of the scaled picture; at least one pixel."""
    across, down = size[0] / verdict.width, size[1] / verdict.height
    x0, y0 = round(box[0] * across), round(box[1] * down)
    return x0, y0, max(x0 + 1, round(box[2] * across)), max(y0 + 1, round(box[3] * down))


def _draw_boxes(picture: Image.Image, verdict: Verdict) -> None:
    draw = ImageDraw.Draw(picture)
    # The nearest region is drawn last, on top.
    for region in reversed(verdict.regions):
        x0, y0, x1, y1 = _placed(region.box, verdict, picture.size)
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=_box_color(region), width=3)
        if min(x1 - x0, y1 - y0) > 12:
            # A light line inside the strong one: one of them is visible on any background.
            draw.rectangle((x0 + 3, y0 + 3, x1 - 4, y1 - 4), outline=_WHITE, width=1)


def _draw_labels(
    stage: Image.Image, verdict: Verdict, left: int, top: int, size: tuple[int, int]
) -> None:
    draw = ImageDraw.Draw(stage)
    taken: list[Box] = []
    for region in verdict.regions[:_MOST_LABELS]:
        x0, y0, x1, y1 = _placed(region.box, verdict, size)
        label = _label(region, round(_LABEL_SHARE * stage.width))
        box = (left + x0, top + y0, left + x1, top + y1)
        place = min(
            _label_places(box, label.size, stage.size),
            key=lambda spot: sum(intersection(spot, other) for other in taken),
        )
        taken.append(place)
        if place[1] >= box[3] or place[3] <= box[1]:
            # Away from its box: a line connects the two.
            anchor = (max(place[0], box[0]) + 4, box[3] if place[1] >= box[3] else box[1])
            draw.line(
                (anchor, (anchor[0], (place[1] + place[3]) // 2)), fill=_box_color(region), width=3
            )
        stage.paste(label, place[:2])


def _label_places(box: Box, size: tuple[int, int], stage: tuple[int, int]) -> Iterator[Box]:
    """Places for a label, best first: above, below, inside, then further down."""
    width, height = size
    x0, y0, x1, y1 = box
    tops = [y0 - height, y1, y0, y1 - height]
    tops += [y0 + step * height for step in range(1, stage[1] // height)]
    for y in tops:
        if y < 0 or y + height > stage[1]:
            continue
        for x in (x0, x1 - width):
            inside = min(max(x, 0), stage[0] - width)
            yield inside, y, inside + width, y + height
    y = min(max(y0, 0), max(0, stage[1] - height))
    x = min(max(x0, 0), stage[0] - width)
    yield x, y, x + width, y + height


def _label(region: Region, widest: int) -> Image.Image:
    text = f"{region.category} {region.distance:.3f}"
    if region.kind == "words":
        text += ", by its words"
    if region.action == "flag":
        text += ", reported"
    return _text_block([(text, 17)], _box_color(region), widest, 4)


def _box_color(region: Region) -> Color:
    return _REPORTED_BOX if region.action == "flag" else _BOX


def _header(verdict: Verdict, width: int) -> Image.Image:
    if verdict.fault is not None:
        return _bar([("NOT SCANNED", 30), (verdict.fault, 20)], _UNKNOWN, width)
    word, color = _STYLE[verdict.decision]
    reported = [region for region in verdict.regions if region.action == "flag"]
    acted_on = [region for region in verdict.regions if region.action != "flag"]
    found = _counted(acted_on) or verdict.category
    nearest = f"nearest unsafe concept: {verdict.category}"
    explanations = {
        "allow": nearest,
        "undecided": nearest,
        "mask": found,
        "block": f"{found}: the image is not forwarded",
    }
    lines = [explanations[verdict.decision if verdict.would_be is None else verdict.would_be]]
    if verdict.would_be in {"mask", "block"}:
        lines[0] = f"would have been {_STYLE[verdict.would_be][0].lower()}: {found}"
    if reported:
        lines.append(f"only reported, left visible: {_counted(reported)}")
    if verdict.words is not None:
        lines.append(words_read(verdict.words))
    numbers = f"distance {verdict.distance:.3f} {against(verdict, 'threshold ')}"
    return _bar([(word, 30), *((line, 20) for line in (*lines, numbers))], color, width)


def against(verdict: Verdict, name: str = "") -> str:
    """How the distance compares with the threshold, like "<= 0.417"; `name` stands before it."""
    if not verdict.decided:
        return "(no threshold yet)"
    sign = "<=" if verdict.distance <= verdict.threshold else ">"
    return f"{sign} {name}{verdict.threshold:.3f}"


def _seen(evidence: Evidence) -> str:
    """What the detector looked at, like "squashed 224 x 224 down to 56 px in 59 crops; …"."""
    parts: dict[str, list[Level]] = {}
    for level in evidence.levels:
        width, height = level.frame
        parts.setdefault(f"{level.form} {width} x {height}", []).append(level)
    return "; ".join(
        f"{form} down to {min(level.side for level in levels)} px "
        f"in {sum(level.crops for level in levels)} crops"
        for form, levels in parts.items()
    )


def words_read(words: WordsRead) -> str:
    """Like "words: 12 lines read, 1 found and not read"."""
    unread = f", {words.unread} found and not read" if words.unread else ""
    return f"words: {words.lines} line{'' if words.lines == 1 else 's'} read{unread}"


def _counted(regions: Sequence[Region]) -> str:
    """Like "weapon in 2 regions, drug in 1 region", nearest first; empty without regions."""
    counts = Counter(region.category for region in regions)
    return ", ".join(
        f"{category} in {count} region{'' if count == 1 else 's'}"
        for category, count in counts.items()
    )


def _bar(lines: list[tuple[str, int]], color: Color, width: int) -> Image.Image:
    """A bar of this width with lines of text in the given sizes."""
    block = _text_block(lines, color, width - 2 * _PADDING, _PADDING)
    header = Image.new("RGB", (width, block.height), color)
    header.paste(block, (0, 0))
    return header


def _footer(verdict: Verdict, width: int) -> Image.Image:
    """The scale of the heat, and the number of boxes without a label."""
    text = "heat: how near to an unsafe concept"
    if len(verdict.regions) > _MOST_LABELS:
        text += f"; {len(verdict.regions) - _MOST_LABELS} further boxes without a label"
    bar = 120
    seen = _seen(verdict.evidence)
    lines = [(line, 15) for line in (text, *([f"seen: {seen}"] if seen else []))]
    block = _text_block(lines, _BAR, width - bar - 2 * _PADDING, _PADDING)
    footer = Image.new("RGB", (width, block.height), _BAR)
    ramp = np.tile(heat_color(np.linspace(0.0, 1.0, bar)), (14, 1, 1))
    footer.paste(
        Image.fromarray(np.rint(ramp).astype(np.uint8)), (_PADDING, (block.height - 14) // 2)
    )
    footer.paste(block, (_PADDING + bar, 0))
    return footer


def _text_block(
    lines: list[tuple[str, int]], background: Color, widest: int, padding: int
) -> Image.Image:
    """White text on a plain block, wrapped rather than cut off.

    Args:
        lines: text and font size of each line.
        background: colour of the block.
        widest: maximum width of the block, in pixels.
        padding: space around the text, in pixels.
    """
    wrapped = [
        (piece, _font(size))
        for text, size in lines
        for piece in _wrap(text, size, widest - 2 * padding)
    ]
    heights = [sum(font.getmetrics()) for _, font in wrapped]
    width = int(np.ceil(max(font.getlength(piece) for piece, font in wrapped)))
    block = Image.new("RGB", (width + 2 * padding, sum(heights) + 2 * padding), background)
    draw = ImageDraw.Draw(block)
    y = padding
    for (piece, font), height in zip(wrapped, heights, strict=True):
        draw.text((padding, y), piece, fill=_WHITE, font=font)
        y += height
    return block


def _wrap(text: str, size: int, widest: int) -> list[str]:
    """Break lines between words, and inside a word that is too long for a line."""
    font = _font(size)
    lines, line = [], ""
    for word in text.split():
        candidate = f"{line} {word}".strip()
        if font.getlength(candidate) <= widest:
            line = candidate
            continue
        if line:
            lines.append(line)
        line = ""
        for letter in word:
            if line and font.getlength(line + letter) > widest:
                lines.append(line)
                line = ""
            line += letter
    return [*lines, line]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow lacks FreeType. Install the ordinary Pillow wheel.")
    return font
