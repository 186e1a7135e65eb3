"""The guard and the unsafe picture of the leak tables."""

from __future__ import annotations

import argparse

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
