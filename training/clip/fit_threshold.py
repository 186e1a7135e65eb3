"""Fit the miniature guard's threshold on fresh scenes: `python -m training.clip.fit_threshold`.

The scenes have held-out backgrounds and their own seeds: neither the training nor the benchmarks
use them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.fit import ImageDistances, fit_profile, measure
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.types import CanonicalImage

_SEED = 31_337


def measured(detector: Detector, *, unsafe: bool, scenes: int) -> list[ImageDistances]:
    """What the detector measures of `scenes` calibration scenes."""
    images = []
    for index in track(range(scenes), description="unsafe" if unsafe else "safe"):
        rng = np.random.default_rng((_SEED, int(unsafe), index))
        scene = draw_cluttered_scene(rng, unsafe=unsafe, backgrounds=HELD_OUT_BACKGROUNDS)
        images.append(measure(detector, CanonicalImage(scene.pixels)))
    return images


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--safe", type=int, default=1000)
    parser.add_argument("--unsafe", type=int, default=300)
    parser.add_argument("--max-false-alarm", type=float, default=0.01)
    parser.add_argument("--preset", default="mini", help="name of a preset, or a YAML file")
    parser.add_argument("--out", type=Path, default=Path("guardalign_middleware/mini/profile.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = GuardAlignConfig.load(options.preset).detection
    detector = Detector.from_config(config.model_copy(update={"profile": None}))
    profile = fit_profile(
        detector,
        measured(detector, unsafe=False, scenes=options.safe),
        {"unsafe": measured(detector, unsafe=True, scenes=options.unsafe)},
        options.max_false_alarm,
    )
    profile.save(options.out)
    Console().print(profile)


if __name__ == "__main__":
    main()
