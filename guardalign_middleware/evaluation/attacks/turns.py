"""Attacks by turning: models recognise turned things, and many detectors only upright ones."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageOps

from guardalign_middleware.evaluation.attacks.target import (
    Attack,
    Crops,
    Target,
    picture_of,
    plain_colour,
)
from guardalign_middleware.types import Box


def turned(degrees: float) -> Attack:
    """Rotate the whole picture anticlockwise; new corners get its median colour.

    A quarter or half turn loses no pixel, so a person or a model that turns it back sees all.
    """

    def attack(target: Target, _: Crops, __: np.random.Generator) -> Target:
        picture = target.image.to_pil()
        fill = tuple(plain_colour(target.image).tolist())
        after = picture.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)
        boxes = tuple(_turned_box(box, degrees, picture.size, after.size) for box in target.boxes)
        return Target(picture_of(after), boxes)

    return attack


def mirrored(target: Target, _: Crops, __: np.random.Generator) -> Target:
    """Swap left and right, which changes nothing that a thing is recognised by."""
    width = target.image.width
    boxes = tuple((width - x1, y0, width - x0, y1) for x0, y0, x1, y1 in target.boxes)
    return Target(picture_of(ImageOps.mirror(target.image.to_pil())), boxes)


def _turned_box(box: Box, degrees: float, before: tuple[int, int], after: tuple[int, int]) -> Box:
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
    # Sines of quarter turns are not quite 0: without rounding, a box could grow by a pixel.
    return (
        max(math.floor(round(min(xs), 6)), 0),
        max(math.floor(round(min(ys), 6)), 0),
        min(math.ceil(round(max(xs), 6)), after[0]),
        min(math.ceil(round(max(ys), 6)), after[1]),
    )
