"""Attacks on colour: shapes stay, so that a thing can still be recognised."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from guardalign_middleware.evaluation.attacks.target import Attack, Crops, Target, picture_of


def jpeg(quality: int) -> Attack:
    """Compress the picture, which smears colour and leaves blocks: no effort at all."""

    def attack(target: Target, _: Crops, __: np.random.Generator) -> Target:
        buffer = io.BytesIO()
        target.image.to_pil().save(buffer, "JPEG", quality=quality)
        return Target(picture_of(Image.open(buffer)), target.boxes)

    return attack


def grey(target: Target, _: Crops, __: np.random.Generator) -> Target:
    """Remove all colour, as a photocopy does: blood, fire and warning signs lose their sign."""
    return Target(picture_of(ImageOps.grayscale(target.image.to_pil())), target.boxes)


def inverse(target: Target, _: Crops, __: np.random.Generator) -> Target:
    """A negative: every outline stays, and every colour is new to an encoder."""
    return Target(picture_of(ImageOps.invert(target.image.to_pil())), target.boxes)
