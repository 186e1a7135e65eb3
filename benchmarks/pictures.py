"""The unsafe picture of the leak tables, and how its raw bytes are recognised."""

from __future__ import annotations

import argparse
import base64

from guardalign_middleware import ImageGuard
from guardalign_middleware.encode import png_bytes
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.types import CanonicalImage


def guard_and_picture(parser: argparse.ArgumentParser) -> tuple[ImageGuard, bytes]:
    """`mini`, and a scene of the demo in which it masks something, as PNG.

    Args:
        parser: of the benchmark, which ends with an error if `mini` masks nothing.
    """
    scene = next(scene for scene in demo_scenes() if scene.name == "pistol-apple")
    guard, png = ImageGuard.from_preset("mini"), png_bytes(CanonicalImage(scene.scene.pixels))
    if guard.sanitize(png).verdict.decision != "mask":
        parser.error("mini masks nothing in the picture, so there is nothing to measure.")
    return guard, png


def holds_raw(value: object, png: bytes) -> bool:
    """Whether a value contains the bytes of an image file, raw or as base64.

    Args:
        value: anything whose `repr` shows its contents.
        png: the file as it was before the guard.
    """
    text = repr(value)
    return base64.b64encode(png).decode("ascii") in text or repr(png)[2:-1] in text
