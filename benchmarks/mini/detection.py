"""How well the miniature guard finds unsafe pictographs: `python -m benchmarks.mini.detection`.

Fresh scenes of 320-640 px on backgrounds never trained on, with 4-9 things of 34-84 px, at most one
of them unsafe, in the training style and in one that was never trained on. The shipped detector is
compared with global CLIP: one embedding of the whole picture. Pictographs, not photographs.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.localisation import hottest_point, inside
from benchmarks.results import RESULTS, write_json
from guardalign_middleware import ImageGuard
from guardalign_middleware.boxes import area, covered
from guardalign_middleware.evaluation.arms.whole_picture import WholePicture
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.evaluation.ranking import detected_at_false_alarm, ranking_estimates
from guardalign_middleware.heat import heats_of
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS, STYLES
from guardalign_middleware.types import CanonicalImage

RESULT = RESULTS / "mini_detection.json"
_SEED = 90_210


@dataclass
class Tally:
    """Counts and distances over the scenes of one style.

    Attributes:
        safe, unsafe: distances by the detector.
        safe_global, unsafe_global: distances by global CLIP.
        false_alarms: flagged safe scenes.
        detected: flagged unsafe scenes.
        pointed: unsafe scenes whose most unsafe pixel is on the unsafe thing.
        blocked: unsafe scenes blocked because masking did not suffice.
        half_masked: masked scenes with at least half of the unsafe thing covered.
        masked_areas: masked area relative to the box of the unsafe thing.
        safe_hit: masked scenes with at least half of a safe thing covered.
    """

    safe: list[float] = field(default_factory=list)
    unsafe: list[float] = field(default_factory=list)
    safe_global: list[float] = field(default_factory=list)
    unsafe_global: list[float] = field(default_factory=list)
    false_alarms: int = 0
    detected: int = 0
    pointed: int = 0
    blocked: int = 0
    half_masked: int = 0
    masked_areas: list[float] = field(default_factory=list)
    safe_hit: int = 0


def measure(guard: ImageGuard, style: str, scenes: int, seed: int) -> Tally:
    """Scan as many safe as unsafe scenes of a style.

    Args:
        guard: scans them.
        style: the drawing style.
        scenes: number of each kind.
        seed: of the scenes.
    """
    tally, baseline = Tally(), WholePicture(guard.detector)
    for index in track(range(2 * scenes), description=style):
        unsafe = bool(index % 2)
        rng = np.random.default_rng((_SEED, seed, index))
        scene = draw_cluttered_scene(
            rng, unsafe=unsafe, backgrounds=HELD_OUT_BACKGROUNDS, style=style
        )
        image = CanonicalImage(scene.pixels, f"{style}-{index}")
        clean = guard.sanitize(image)
        evidence = clean.verdict.evidence
        distances, thresholds = evidence.patch_distances, clean.verdict.patch_thresholds
        # Forms have thresholds of their own, by which their distances can be compared.
        (tally.unsafe if unsafe else tally.safe).append(float((distances / thresholds).min()))
        (tally.unsafe_global if unsafe else tally.safe_global).append(baseline.distance(image))
        if not unsafe:
            tally.false_alarms += clean.verdict.flagged
            continue
        target = scene.unsafe_items[0].box
        tally.detected += clean.verdict.flagged
        heats = heats_of(distances, thresholds)
        hottest = hottest_point(evidence.patch_boxes, heats, evidence.patch_levels)
        tally.pointed += inside(hottest, target)
        tally.blocked += clean.image is None
        if clean.verdict.decision == "mask":
            size = image.pixels.shape[:2]
            tally.half_masked += covered(target, clean.boxes) >= 0.5
            tally.masked_areas.append(clean.masked_fraction * size[0] * size[1] / area(target))
            others = [item.box for item in scene.items if not item.concept.unsafe]
            tally.safe_hit += any(covered(box, clean.boxes) >= 0.5 for box in others)
    return tally


def figures(tally: Tally) -> dict[str, Estimate]:
    """The reported figures of one style."""
    found = max(tally.detected - tally.blocked, 1)
    return {
        "AUROC": _auroc(tally.unsafe, tally.safe),
        "AUROC, global CLIP": _auroc(tally.unsafe_global, tally.safe_global),
        "detected at 5% false alarms": detected_at_false_alarm(tally.unsafe, tally.safe, 0.05),
        "detected at 5%, global CLIP": detected_at_false_alarm(
            tally.unsafe_global, tally.safe_global, 0.05
        ),
        "detected, shipped profile": rate(tally.detected, len(tally.unsafe)),
        "false alarms, shipped profile": rate(tally.false_alarms, len(tally.safe)),
        "pointing game": rate(tally.pointed, len(tally.unsafe)),
        "blocked (masking did not suffice)": rate(tally.blocked, len(tally.unsafe)),
        "masked: unsafe thing at least half covered": rate(tally.half_masked, found),
        "masked: a safe thing half covered": rate(tally.safe_hit, found),
    }


def _auroc(unsafe: list[float], safe: list[float]) -> Estimate:
    return ranking_estimates(unsafe, safe, resamples=1000)["AUROC"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=300, help="safe and unsafe scenes of each style")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--styles", nargs="+", default=["noto", "emojione"], choices=STYLES)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    guard = ImageGuard.from_preset("mini")
    results, areas = {}, {}
    for style in options.styles:
        tally = measure(guard, style, options.n, options.seed)
        results[style] = figures(tally)
        areas[style] = float(np.median(tally.masked_areas)) if tally.masked_areas else float("nan")
    table = Table(title=f"mini detection, {options.n} safe + {options.n} unsafe scenes a style")
    table.add_column("figure")
    for style in results:
        held_out = " (never trained on)" if STYLES[style].held_out else ""
        table.add_column(f"{style}{held_out}")
    for name in next(iter(results.values())):
        table.add_row(name, *(str(result[name]) for result in results.values()))
    table.add_row(
        "median masked area / area of the thing's box",
        *(f"{ratio:.2f}" for ratio in areas.values()),
    )
    Console().print(table)
    data = {
        style: {name: asdict(estimate) for name, estimate in result.items()}
        | {"median_masked_area": areas[style]}
        for style, result in results.items()
    }
    write_json(options.json, data)


if __name__ == "__main__":
    main()
