"""Which reading of which patches finds unsafe things: `python -m benchmarks.detection.readings`.

Every reading is computed from the same embeddings of the same scenes: 320-640 px, 4-9 things of
34-84 px on backgrounds never trained on, one of them unsafe or none. Pictographs, not photographs.
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

from benchmarks.detection.layouts import CROP_LAYOUTS, SHIPPED, WHOLE, encode_layouts
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
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.detection.regions import find_regions
from guardalign_middleware.evaluation.localisation import hottest_point, inside, overlap
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.evaluation.ranking import (
    compared,
    estimated,
    mean,
    ranking_figures,
    threshold_at,
)
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.types import Box, CanonicalImage

RESULTS = Path("benchmarks/results/detection_readings.json")
PAPER_THRESHOLD = 0.42
_SEED = 31_337
_STRATA = {
    "size": ((34, 50), (51, 67), (68, 84)),
    "clutter": ((4, 5), (6, 7), (8, 9)),
}
_OVERLAPS = (COSINE, SOFTMAX_MAX, OT_SOFTMAX, PAPER_PRINTED)


@dataclass(frozen=True, eq=False)
class Patched:
    """One layout of one scene: what each reading says of each patch."""

    boxes: NDArray[np.int64]
    distances: Mapping[str, NDArray[np.float64]]
    forwards: int
    iterations: int

    def image_distance(self, reading: str) -> float:
        """The smallest patch distance."""
        return float(self.distances[reading].min())


@dataclass(frozen=True, eq=False)
class Seen:
    """One scene: its truth and its layouts; `target` is the unsafe thing's box, None when safe."""

    target: Box | None
    things: int
    layouts: Mapping[str, Patched]
    sweep: Mapping[str, float]

    @property
    def size(self) -> int:
        """Side of the unsafe thing in pixels."""
        return 0 if self.target is None else self.target[2] - self.target[0]


def look(detector: Detector, bank: Bank, index: int, seed: int) -> Seen:
    """Draw scene number `index`, unsafe when odd, and read it in every way."""
    unsafe = bool(index % 2)
    rng = np.random.default_rng((_SEED, seed, index))
    scene = draw_cluttered_scene(rng, unsafe=unsafe, backgrounds=HELD_OUT_BACKGROUNDS)
    transport = detector.config.transport
    encoder: Any = detector.meters[0].encoder
    layouts, sweep = {}, {}
    for name, patches in encode_layouts(encoder, CanonicalImage(scene.pixels)).items():
        read, iterations = patch_distances(patches.embeddings, bank, transport)
        values = {reading: row.numpy() for reading, row in read.items()}
        layouts[name] = Patched(patches.boxes, values, patches.forwards, iterations)
        if name == SHIPPED:
            sweep = swept(patches.embeddings, bank, transport)
    target = scene.unsafe_items[0].box if unsafe else None
    return Seen(target, len(scene.items), layouts, sweep)


class Summary:
    """The figures of all scenes, intervals from `resamples` redraws.

    Raises:
        ValueError: there is no safe or no unsafe scene.
    """

    def __init__(self, scenes: Sequence[Seen], resamples: int) -> None:
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
        """Mean numbers of patches and of pictures encoded, and the most iterations needed."""
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
        figures = estimated(unsafe, safe, resamples=self.resamples)
        if layout == WHOLE:  # one patch points at nothing
            return figures
        figures["pointing game"] = rate(sum(self._points(layout, reading)), len(unsafe))
        if reading in _OVERLAPS:
            threshold = threshold_at(safe, 0.05)
            figures["region IoU"] = mean(
                [_region_overlap(scene, layout, reading, threshold) for scene in self.unsafe],
                resamples=self.resamples,
            )
        return figures

    def _points(self, layout: str, reading: str) -> list[bool]:
        return [_points_at_target(scene, layout, reading) for scene in self.unsafe]

    def against_transport(self) -> dict[str, dict[str, Estimate]]:
        """The shipped reading minus every other one, on the same scenes and the same patches."""
        ours = self.distances(SHIPPED, OT_SOFTMAX)
        return {
            reading: compared(ours, self.distances(SHIPPED, reading), resamples=self.resamples)
            for reading in READINGS
            if reading != OT_SOFTMAX
        }

    def stability(self) -> dict[str, dict[str, Estimate]]:
        """Safe scenes flagged in each layout with the τ of 5% of them in the shipped one."""
        found = {}
        for reading in READINGS:
            threshold = threshold_at(self.distances(SHIPPED, reading)[1], 0.05)
            found[reading] = {
                layout: _flagged(self.distances(layout, reading)[1], threshold)
                for layout in CROP_LAYOUTS
            }
        return found

    def fixed(self) -> dict[str, dict[str, Estimate]]:
        """Safe scenes flagged with the paper's τ, by the readings that it could be meant for."""
        return {
            reading: {
                layout: _flagged(self.distances(layout, reading)[1], PAPER_THRESHOLD)
                for layout in CROP_LAYOUTS
            }
            for reading in (*LITERAL, OT_PLAIN)
        }

    def strata(self) -> list[dict[str, Any]]:
        """Detection at 5% false alarms and pointing, by size of the thing and number of things."""
        rows = []
        choices = [(SHIPPED, reading) for reading in (OT_SOFTMAX, SOFTMAX_MAX, COSINE)]
        for layout, reading in [*choices, (SHIPPED, PAPER_PRINTED), (WHOLE, SOFTMAX_MAX)]:
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
        """The shipped patches over ε and temperature."""
        return {
            setting: ranking_figures(
                [scene.sweep[setting] for scene in self.unsafe],
                [scene.sweep[setting] for scene in self.safe],
            )
            for setting in self.safe[0].sweep
        }


def _points_at_target(scene: Seen, layout: str, reading: str) -> bool:
    patched = scene.layouts[layout]
    assert scene.target is not None
    return inside(hottest_point(patched.boxes, patched.distances[reading]), scene.target)


def _region_overlap(scene: Seen, layout: str, reading: str, threshold: float) -> float:
    """Overlap of the nearest region with the unsafe thing; 0 when nothing was flagged."""
    patched = scene.layouts[layout]
    assert scene.target is not None
    names = ("unsafe",) * len(patched.boxes)
    regions = find_regions(patched.boxes, patched.distances[reading], names, threshold)
    return overlap(regions[0].box, scene.target) if regions else 0.0


def _flagged(distances: Sequence[float], threshold: float) -> Estimate:
    return rate(sum(distance <= threshold for distance in distances), len(distances))


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 1)


def summarised(scenes: Sequence[Seen], resamples: int = 400) -> dict[str, Any]:
    """Everything that the page tells, as plain JSON values."""
    summary = Summary(scenes, resamples)
    facts = {
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
    plain: dict[str, Any] = json.loads(json.dumps(facts, default=asdict), parse_float=_short)
    return plain


def _short(number: str) -> float:
    return round(float(number), 4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="safe and as many unsafe scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop early, after a pair of scenes")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    config = GuardAlignConfig.load("mini").detection
    detector = Detector.from_config(config)
    bank = embed_bank(detector.meters[0].encoder, detector.meters[0].anchors)
    scenes: list[Seen] = []
    start = time.monotonic()
    for index in track(range(options.n), description="pairs of scenes"):
        scenes += [look(detector, bank, 2 * index + kind, options.seed) for kind in (0, 1)]
        if options.minutes is not None and time.monotonic() - start > 60 * options.minutes:
            break
    facts = summarised(scenes)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    options.json.write_text(text + "\n", encoding="utf-8")
    Console().print(f"{options.json}: {facts['safe']} safe and {facts['unsafe']} unsafe scenes")


if __name__ == "__main__":
    main()
