"""How well each reading of each patch layout detects: `python -m benchmarks.detection.readings`.

All readings use the same embeddings of the same scenes: 320-640 px, 4-9 things of 34-84 px, at most
one of them unsafe, on backgrounds never trained on. Pictographs, not photographs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from benchmarks.detection.layouts import COMPARED, CROP_LAYOUTS, WHOLE, encode_layouts
from benchmarks.detection.scores import (
    COSINE,
    LITERAL,
    OT_PLAIN,
    OT_SOFTMAX,
    PAPER_PRINTED,
    READINGS,
    SOFTMAX_MAX,
    Bank,
    embed_bank,
    patch_distances,
    swept,
)
from benchmarks.localisation import hottest_point, inside, overlap
from benchmarks.results import RESULTS, write_json
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.regions import find_regions
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.evaluation.ranking import (
    mean_estimate,
    ranking_differences,
    ranking_estimates,
    ranking_figures,
    threshold_at,
)
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.types import Box, CanonicalImage

RESULT = RESULTS / "detection_readings.json"
PAPER_THRESHOLD = 0.42
_SEED = 31_337
_STRATA = {
    "size": ((34, 50), (51, 67), (68, 84)),
    "clutter": ((4, 5), (6, 7), (8, 9)),
}
_OVERLAPS = (COSINE, SOFTMAX_MAX, OT_SOFTMAX, PAPER_PRINTED)


@dataclass(frozen=True, eq=False)
class LayoutDistances:
    """The patch distances of every reading, for one layout of one scene."""

    boxes: NDArray[np.int64]
    distances: Mapping[str, NDArray[np.float64]]
    forwards: int
    iterations: int

    def image_distance(self, reading: str) -> float:
        """The smallest patch distance."""
        return float(self.distances[reading].min())


@dataclass(frozen=True, eq=False)
class SceneDistances:
    """What was measured of one scene, and the truth.

    Attributes:
        target: box of the unsafe thing; None for a safe scene.
        things: number of things.
        layouts: layout → patch distances.
        sweep: setting → image distance, as in `swept`.
    """

    target: Box | None
    things: int
    layouts: Mapping[str, LayoutDistances]
    sweep: Mapping[str, float]

    @property
    def size(self) -> int:
        """Side of the unsafe thing in pixels."""
        return 0 if self.target is None else self.target[2] - self.target[0]


def measure_scene(detector: Detector, bank: Bank, index: int, seed: int) -> SceneDistances:
    """Draw scene `index`, unsafe if odd, and compute all readings of all layouts."""
    unsafe = bool(index % 2)
    rng = np.random.default_rng((_SEED, seed, index))
    scene = draw_cluttered_scene(rng, unsafe=unsafe, backgrounds=HELD_OUT_BACKGROUNDS)
    transport = detector.config.transport
    encoder: Any = detector.meters[0].encoder
    layouts, sweep = {}, {}
    for name, patches in encode_layouts(encoder, CanonicalImage(scene.pixels)).items():
        readings, iterations = patch_distances(patches.embeddings, bank, transport)
        distances = {reading: row.numpy() for reading, row in readings.items()}
        layouts[name] = LayoutDistances(patches.boxes, distances, patches.forwards, iterations)
        if name == COMPARED:
            sweep = swept(patches.embeddings, bank, transport)
    target = scene.unsafe_items[0].box if unsafe else None
    return SceneDistances(target, len(scene.items), layouts, sweep)


class Summary:
    """The figures over all scenes.

    Args:
        scenes: safe and unsafe ones.
        resamples: bootstrap resamples behind each interval.

    Raises:
        ValueError: there is no safe or no unsafe scene.
    """

    def __init__(self, scenes: Sequence[SceneDistances], resamples: int) -> None:
        self.resamples = resamples
        self.safe = [scene for scene in scenes if scene.target is None]
        self.unsafe = [scene for scene in scenes if scene.target is not None]
        if not self.safe or not self.unsafe:
            raise ValueError("At least one safe and one unsafe scene is needed.")

    def distances(self, layout: str, reading: str) -> tuple[list[float], list[float]]:
        """Image distances of the unsafe and of the safe scenes."""
        unsafe, safe = (
            [scene.layouts[layout].image_distance(reading) for scene in group]
            for group in (self.unsafe, self.safe)
        )
        return unsafe, safe

    def layouts(self) -> dict[str, dict[str, float]]:
        """Mean numbers of patches and of encoded pictures, and the largest number of iterations."""
        return {
            name: {
                "patches": _mean([len(scene.layouts[name].boxes) for scene in self.safe]),
                "forwards": _mean([scene.layouts[name].forwards for scene in self.safe]),
                "iterations": max(
                    scene.layouts[name].iterations for scene in (*self.safe, *self.unsafe)
                ),
            }
            for name in self.safe[0].layouts
        }

    def readings(self) -> dict[str, dict[str, dict[str, Estimate]]]:
        """Layout → reading → figure."""
        return {
            layout: {reading: self._reading(layout, reading) for reading in READINGS}
            for layout in self.safe[0].layouts
        }

    def _reading(self, layout: str, reading: str) -> dict[str, Estimate]:
        unsafe, safe = self.distances(layout, reading)
        figures = ranking_estimates(unsafe, safe, resamples=self.resamples)
        if layout == WHOLE:  # a single patch cannot point
            return figures
        figures["pointing game"] = rate(sum(self._points(layout, reading)), len(unsafe))
        if reading in _OVERLAPS:
            threshold = threshold_at(safe, 0.05)
            figures["region IoU"] = mean_estimate(
                [_region_overlap(scene, layout, reading, threshold) for scene in self.unsafe],
                resamples=self.resamples,
            )
        return figures

    def _points(self, layout: str, reading: str) -> list[bool]:
        return [_points_at_target(scene, layout, reading) for scene in self.unsafe]

    def against_transport(self) -> dict[str, dict[str, Estimate]]:
        """The shipped reading minus each other one, paired by scene, on the shipped patches."""
        ours = self.distances(COMPARED, OT_SOFTMAX)
        return {
            reading: ranking_differences(
                ours, self.distances(COMPARED, reading), resamples=self.resamples
            )
            for reading in READINGS
            if reading != OT_SOFTMAX
        }

    def stability(self) -> dict[str, dict[str, Estimate]]:
        """Share of safe scenes flagged in each layout at the τ of 5% in the shipped one."""
        found = {}
        for reading in READINGS:
            threshold = threshold_at(self.distances(COMPARED, reading)[1], 0.05)
            found[reading] = {
                layout: _flagged(self.distances(layout, reading)[1], threshold)
                for layout in CROP_LAYOUTS
            }
        return found

    def fixed(self) -> dict[str, dict[str, Estimate]]:
        """Share of safe scenes flagged at the paper's τ, for the readings it may be meant for."""
        return {
            reading: {
                layout: _flagged(self.distances(layout, reading)[1], PAPER_THRESHOLD)
                for layout in CROP_LAYOUTS
            }
            for reading in (*LITERAL, OT_PLAIN)
        }

    def strata(self) -> list[dict[str, Any]]:
        """Detection at 5% false alarms and pointing game, by size and number of things."""
        rows = []
        choices = [(COMPARED, reading) for reading in (OT_SOFTMAX, SOFTMAX_MAX, COSINE)]
        for layout, reading in [*choices, (COMPARED, PAPER_PRINTED), (WHOLE, SOFTMAX_MAX)]:
            unsafe, safe = self.distances(layout, reading)
            found = np.asarray(unsafe) <= threshold_at(safe, 0.05)
            pointed = np.asarray(self._points(layout, reading))
            for kind, bins in _STRATA.items():
                values = np.array(
                    [scene.size if kind == "size" else scene.things for scene in self.unsafe]
                )
                for low, high in bins:
                    chosen = (values >= low) & (values <= high)
                    if not chosen.any():
                        continue
                    n = int(chosen.sum())
                    rows.append(
                        {
                            "layout": layout,
                            "reading": reading,
                            "by": kind,
                            "from": low,
                            "to": high,
                            "detected": rate(int(found[chosen].sum()), n),
                            "pointing": rate(int(pointed[chosen].sum()), n),
                        }
                    )
        return rows

    def sweep(self) -> dict[str, dict[str, float]]:
        """The ranking figures of each setting of `swept`, on the shipped patches."""
        return {
            setting: ranking_figures(
                [scene.sweep[setting] for scene in self.unsafe],
                [scene.sweep[setting] for scene in self.safe],
            )
            for setting in self.safe[0].sweep
        }


def _points_at_target(scene: SceneDistances, layout: str, reading: str) -> bool:
    found = scene.layouts[layout]
    assert scene.target is not None
    distances = found.distances[reading]
    levels = np.unique(found.boxes[:, 2] - found.boxes[:, 0], return_inverse=True)[1]
    return inside(hottest_point(found.boxes, distances.max() - distances, levels), scene.target)


def _region_overlap(scene: SceneDistances, layout: str, reading: str, threshold: float) -> float:
    """IoU of the most unsafe region and the unsafe thing; 0 if nothing is flagged."""
    found = scene.layouts[layout]
    assert scene.target is not None
    names = ("unsafe",) * len(found.boxes)
    distances = found.distances[reading]
    sides = found.boxes[:, 2] - found.boxes[:, 0]
    levels = np.unique(sides, return_inverse=True)[1]
    regions = find_regions(found.boxes, distances, names, threshold, levels, distances)
    return overlap(regions[0].box, scene.target) if regions else 0.0


def _flagged(distances: Sequence[float], threshold: float) -> Estimate:
    return rate(sum(distance <= threshold for distance in distances), len(distances))


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 1)


def summarised(scenes: Sequence[SceneDistances], resamples: int = 400) -> dict[str, Any]:
    """Everything that the page shows, as plain JSON values of four decimals."""
    summary = Summary(scenes, resamples)
    figures = {
        "safe": len(summary.safe),
        "unsafe": len(summary.unsafe),
        "layouts": summary.layouts(),
        "readings": summary.readings(),
        "against transport": summary.against_transport(),
        "stability": summary.stability(),
        "fixed": summary.fixed(),
        "strata": summary.strata(),
        "sweep": summary.sweep(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(figures, default=asdict), parse_float=_short)
    return plain


def _short(number: str) -> float:
    return round(float(number), 4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="number of safe and of unsafe scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop early, after this time")
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    config = GuardAlignConfig.load("mini").detection
    detector = Detector.from_config(config)
    bank = embed_bank(detector.meters[0].encoder, detector.meters[0].anchors)
    scenes: list[SceneDistances] = []
    start = time.monotonic()
    for index in track(range(options.n), description="pairs of scenes"):
        scenes += [measure_scene(detector, bank, 2 * index + kind, options.seed) for kind in (0, 1)]
        if options.minutes is not None and time.monotonic() - start > 60 * options.minutes:
            break
    figures = summarised(scenes)
    write_json(options.json, figures)
    Console().print(f"{options.json}: {figures['safe']} safe and {figures['unsafe']} unsafe scenes")


if __name__ == "__main__":
    main()
