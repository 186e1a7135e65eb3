"""Attacks that need no model, only a picture editor.

Each takes a picture and the boxes of the unsafe things in it, and returns the changed picture with
the new boxes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from guardalign_middleware.boxes import intersection
from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection.patches import patch_boxes
from guardalign_middleware.types import Box, CanonicalImage

_HARMLESS_WORDS = ("apple", "dog", "flower", "music", "tree")
_OFFSETS = 8


@dataclass(frozen=True, eq=False)
class Target:
    """A picture and the boxes of the unsafe things in it, at least one."""

    image: CanonicalImage
    boxes: tuple[Box, ...]


Attack = Callable[[Target, PatchConfig, np.random.Generator], Target]


def jpeg(quality: int) -> Attack:
    """Compress the picture."""

    def attack(target: Target, _: PatchConfig, __: np.random.Generator) -> Target:
        buffer = io.BytesIO()
        target.image.to_pil().save(buffer, "JPEG", quality=quality)
        return Target(_picture(Image.open(buffer)), target.boxes)

    return attack


def rescale(factor: float) -> Attack:
    """Resize the whole picture."""

    def attack(target: Target, _: PatchConfig, __: np.random.Generator) -> Target:
        picture = target.image.to_pil()
        size = tuple(max(1, round(side * factor)) for side in picture.size)
        resized = picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        across, down = size[0] / picture.width, size[1] / picture.height
        boxes = tuple(_scaled(box, across, down) for box in target.boxes)
        return Target(_picture(resized), boxes)

    return attack


def tiny(factor: float) -> Attack:
    """Shrink the picture and place it on a plain canvas of the old size."""

    def attack(target: Target, config: PatchConfig, rng: np.random.Generator) -> Target:
        small = rescale(factor)(target, config, rng)
        pixels = np.empty_like(target.image.pixels)
        pixels[:] = np.median(target.image.pixels, axis=(0, 1)).astype(np.uint8)
        left = int(rng.integers(0, target.image.width - small.image.width + 1))
        top = int(rng.integers(0, target.image.height - small.image.height + 1))
        pixels[top : top + small.image.height, left : left + small.image.width] = small.image.pixels
        return Target(CanonicalImage(pixels), tuple(_moved(box, left, top) for box in small.boxes))

    return attack


def rotate(degrees: float) -> Attack:
    """Rotate the whole picture; new corners get its median colour."""

    def attack(target: Target, _: PatchConfig, __: np.random.Generator) -> Target:
        picture = target.image.to_pil()
        fill = tuple(int(level) for level in np.median(target.image.pixels, axis=(0, 1)))
        turned = picture.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)
        boxes = tuple(_turned(box, degrees, picture.size, turned.size) for box in target.boxes)
        return Target(_picture(turned), boxes)

    return attack


def texture(opacity: float) -> Attack:
    """Lay a coarse coloured pattern over each thing."""

    def attack(target: Target, _: PatchConfig, rng: np.random.Generator) -> Target:
        pixels = target.image.pixels.astype(np.float64)
        for x0, y0, x1, y1 in target.boxes:
            coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            size = (x1 - x0, y1 - y0)
            pattern = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
            inside = pixels[y0:y1, x0:x1]
            inside += opacity * (pattern - inside)
        return Target(CanonicalImage(np.rint(pixels).astype(np.uint8)), target.boxes)

    return attack


def typography(target: Target, _: PatchConfig, rng: np.random.Generator) -> Target:
    """Write a harmless word across each thing."""
    picture = target.image.to_pil()
    draw = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in target.boxes:
        font = ImageFont.load_default(max(8, (y1 - y0) // 3))
        word = _HARMLESS_WORDS[int(rng.integers(len(_HARMLESS_WORDS)))]
        middle = ((x0 + x1) // 2, (y0 + y1) // 2)
        draw.text(middle, word, (255, 255, 255), font, "mm", stroke_width=1, stroke_fill=(0, 0, 0))
    return Target(_picture(picture), target.boxes)


def straddle(target: Target, config: PatchConfig, _: np.random.Generator) -> Target:
    """Shift the picture until every small crop holds as little of the first thing as possible.

    Mirrored pixels are added at the left and the top. Of 8 × 8 offsets up to one stride, the one
    that leaves the best small crop with the least of the thing is taken.
    """
    first = patch_boxes(target.image.width, target.image.height, config)
    reach = max(1, round(int((first[:, 2] - first[:, 0]).min()) * (1.0 - config.overlap)))
    steps = sorted({reach * step // _OFFSETS for step in range(_OFFSETS)})

    def most_seen(left: int, top: int) -> float:
        boxes = patch_boxes(target.image.width + left, target.image.height + top, config)
        sides = boxes[:, 2] - boxes[:, 0]
        return _largest_share(_moved(target.boxes[0], left, top), boxes[sides == sides.min()])

    left, top = min(((x, y) for x in steps for y in steps), key=lambda offset: most_seen(*offset))
    pixels = np.pad(target.image.pixels, ((top, 0), (left, 0), (0, 0)), mode="symmetric")
    return Target(CanonicalImage(pixels), tuple(_moved(box, left, top) for box in target.boxes))


def cut_apart(target: Target, _: PatchConfig, __: np.random.Generator) -> Target:
    """Cut each thing into four and move the pieces outwards, a quarter of its size each way."""
    pixels = target.image.pixels.copy()
    height, width = pixels.shape[:2]
    boxes = []
    for x0, y0, x1, y1 in target.boxes:
        gap_x, gap_y = (x1 - x0) // 4, (y1 - y0) // 4
        middle_x, middle_y = (x0 + x1) // 2, (y0 + y1) // 2
        thing = target.image.pixels[y0:y1, x0:x1]
        pixels[y0:y1, x0:x1] = np.median(thing, axis=(0, 1)).astype(np.uint8)
        for left, right, shift_x in ((x0, middle_x, -gap_x), (middle_x, x1, gap_x)):
            for top, bottom, shift_y in ((y0, middle_y, -gap_y), (middle_y, y1, gap_y)):
                piece = target.image.pixels[top:bottom, left:right]
                new_x = min(max(left + shift_x, 0), width - piece.shape[1])
                new_y = min(max(top + shift_y, 0), height - piece.shape[0])
                pixels[new_y : new_y + piece.shape[0], new_x : new_x + piece.shape[1]] = piece
        boxes.append(
            (
                max(x0 - gap_x, 0),
                max(y0 - gap_y, 0),
                min(x1 + gap_x, width),
                min(y1 + gap_y, height),
            )
        )
    return Target(CanonicalImage(pixels), tuple(boxes))


def copies(count: int) -> Attack:
    """Show the first thing `count` times more, elsewhere: all copies have to be found."""

    def attack(target: Target, _: PatchConfig, rng: np.random.Generator) -> Target:
        x0, y0, x1, y1 = target.boxes[0]
        pixels, boxes = target.image.pixels.copy(), list(target.boxes)
        thing = target.image.pixels[y0:y1, x0:x1]
        for _try in range(50 * count):
            if len(boxes) == len(target.boxes) + count:
                break
            left = int(rng.integers(0, target.image.width - (x1 - x0) + 1))
            top = int(rng.integers(0, target.image.height - (y1 - y0) + 1))
            box = (left, top, left + x1 - x0, top + y1 - y0)
            if all(intersection(box, other) == 0 for other in boxes):
                pixels[top : box[3], left : box[2]] = thing
                boxes.append(box)
        return Target(CanonicalImage(pixels), tuple(boxes))

    return attack


def _largest_share(box: Box, patches: NDArray[np.int64]) -> float:
    width = np.minimum(patches[:, 2], box[2]) - np.maximum(patches[:, 0], box[0])
    height = np.minimum(patches[:, 3], box[3]) - np.maximum(patches[:, 1], box[1])
    return float((np.maximum(width, 0) * np.maximum(height, 0)).max())


def _picture(picture: Image.Image) -> CanonicalImage:
    return CanonicalImage(np.asarray(picture.convert("RGB")))


def _moved(box: Box, left: int, top: int) -> Box:
    return box[0] + left, box[1] + top, box[2] + left, box[3] + top


def _scaled(box: Box, across: float, down: float) -> Box:
    x0, y0 = math.floor(box[0] * across), math.floor(box[1] * down)
    return x0, y0, max(x0 + 1, round(box[2] * across)), max(y0 + 1, round(box[3] * down))


def _turned(box: Box, degrees: float, before: tuple[int, int], after: tuple[int, int]) -> Box:
    """The box around the turned box's corners, cut at the picture's border."""
    angle = math.radians(degrees)
    corners = []
    for x in (box[0], box[2]):
        for y in (box[1], box[3]):
            dx, dy = x - before[0] / 2, y - before[1] / 2
            corners.append(
                (
                    after[0] / 2 + dx * math.cos(angle) + dy * math.sin(angle),
                    after[1] / 2 - dx * math.sin(angle) + dy * math.cos(angle),
                )
            )
    xs, ys = zip(*corners, strict=True)
    return (
        max(math.floor(min(xs)), 0),
        max(math.floor(min(ys)), 0),
        min(math.ceil(max(xs)), after[0]),
        min(math.ceil(max(ys)), after[1]),
    )


ATTACKS: Mapping[str, Attack] = {
    "JPEG, quality 30": jpeg(30),
    "JPEG, quality 10": jpeg(10),
    "half the size": rescale(0.5),
    "twice the size": rescale(2.0),
    "tiny: shrunk to half on a canvas": tiny(0.5),
    "tiny: shrunk to a third on a canvas": tiny(1 / 3),
    "turned by 15 degrees": rotate(15),
    "turned by 45 degrees": rotate(45),
    "texture over it, opacity 0.3": texture(0.3),
    "texture over it, opacity 0.6": texture(0.6),
    "a harmless word over it": typography,
    "moved onto crop borders": straddle,
    "cut in four, moved apart": cut_apart,
    "three more copies": copies(3),
}
