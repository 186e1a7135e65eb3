"""Fit the miniature guard's thresholds on fresh scenes: `python -m training.clip.fit_threshold`.

The scenes are those of `training.clip.mix`, with strangers of the split "fitted" and their own
seeds: neither the training nor the benchmarks use them. 1,300 scenes take about ten minutes on one
core; `--processes` shares them out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.fit import ImageDistances, fit_profile, measure
from training.clip.mix import draw_mixed_scene

_SEED = 31_338
_BATCH = 8


@cache
def _detector(preset: str) -> Detector:
    torch.set_num_threads(1)
    config = GuardAlignConfig.load(preset).detection
    return Detector.from_config(config.model_copy(update={"profile": None}))


def _measured(preset: str, index: int, unsafe: bool) -> ImageDistances:
    """What the detector measures of one calibration scene."""
    rng = np.random.default_rng((_SEED, int(unsafe), index))
    scene = draw_mixed_scene(rng, unsafe=unsafe, split="fitted")
    return measure(_detector(preset), scene.image)


def measured(
    preset: str, *, unsafe: bool, scenes: int, processes: int = 1
) -> Iterator[ImageDistances]:
    """What the detector measures of `scenes` calibration scenes, in the order of their numbers.

    Args:
        preset: name of a preset, or a YAML file.
        unsafe: whether one thing in each scene is unsafe.
        scenes: how many.
        processes: that share the work; the result does not depend on it.
    """
    work = [preset] * scenes, range(scenes), [unsafe] * scenes
    if processes == 1:
        yield from map(_measured, *work)
        return
    # Spawned: a forked process inherits torch's threads in an undefined state.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_measured, *work, chunksize=_BATCH)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--safe", type=int, default=1000)
    parser.add_argument("--unsafe", type=int, default=300)
    parser.add_argument("--max-false-alarm", type=float, default=0.01, help="promised α")
    parser.add_argument("--preset", default="mini", help="name of a preset, or a YAML file")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("guardalign_middleware/mini/profile.json"))
    options = parser.parse_args()
    groups = [
        list(
            track(
                measured(options.preset, unsafe=unsafe, scenes=scenes, processes=options.processes),
                total=scenes,
                description="unsafe" if unsafe else "safe",
            )
        )
        for unsafe, scenes in ((False, options.safe), (True, options.unsafe))
    ]
    profile = fit_profile(
        _detector(options.preset), groups[0], {"unsafe": groups[1]}, options.max_false_alarm
    )
    profile.save(options.out)
    Console().print(profile)


if __name__ == "__main__":
    main()
