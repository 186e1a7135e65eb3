"""The effect of bf16 and int8 on distances, decisions and ranking, on scenes of the miniature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.tables import Table, estimate, table
from guardalign_middleware.config import GuardAlignConfig, PatchConfig, Precision
from guardalign_middleware.detection import Detector, PatchDistances, ThresholdProfile
from guardalign_middleware.detection.image_distances import smallest_distances
from guardalign_middleware.evaluation.metrics import rate
from guardalign_middleware.evaluation.ranking import detected_at_false_alarm
from guardalign_middleware.mini.clutter import draw_cluttered_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.types import CanonicalImage

EXACT: Precision = "fp32"
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_SEED = 20_260
Margins = NDArray[np.float64]


def margin(measured: PatchDistances, profile: ThresholdProfile) -> float:
    """The image's distance minus its threshold; the image is flagged at or below 0."""
    return min(
        value - profile.threshold_of(name, form)
        for form, nearest in smallest_distances(measured.evidence).items()
        for name, value in nearest.items()
    )


def margins(scenes: int, seed: int = 0, patches: PatchConfig | None = None) -> dict[str, Margins]:
    """Margins by precision, on the same scenes, alternately safe and unsafe: `[scenes]`.

    The threshold is the shipped one, which was fitted in fp32.

    Args:
        scenes: number of scenes.
        seed: of the scenes.
        patches: None = the shipped ones.
    """
    config = GuardAlignConfig.load("mini").detection
    assert config.profile is not None
    profile = ThresholdProfile.load(config.profile)
    detectors = {
        precision: Detector.from_config(
            config.model_copy(
                update={
                    "encoder": config.encoder.model_copy(update={"precision": precision}),
                    "patches": patches or config.patches,
                    "profile": None,
                }
            )
        )
        for precision in PRECISIONS
    }
    found: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for index in track(range(scenes), description="scenes in each precision"):
        rng = np.random.default_rng((_SEED, seed, index))
        scene = draw_cluttered_scene(rng, unsafe=bool(index % 2), backgrounds=HELD_OUT_BACKGROUNDS)
        image = CanonicalImage(scene.pixels)
        for precision, detector in detectors.items():
            found[precision].append(margin(detector.distances(image)[0], profile))
    return {precision: np.array(values) for precision, values in found.items()}


def changes(found: Mapping[str, Margins]) -> dict[str, dict[str, Any]]:
    """The changes of each precision relative to fp32.

    `band` is the largest distance from the threshold in fp32 at which a decision flips, and
    `in_band` the number of scenes at most that far from it. `detected` is the share of the unsafe
    scenes below a threshold that flags 5% of the safe ones, chosen anew in that precision.
    """
    exact = found[EXACT]
    changed = {}
    for precision, values in found.items():
        flipped = (values <= 0.0) != (exact <= 0.0)
        band = float(np.abs(exact[flipped]).max(initial=0.0))
        changed[precision] = {
            "flips": vars(rate(int(flipped.sum()), len(exact))),
            "band": band,
            "in_band": int((np.abs(exact) <= band).sum()) if flipped.any() else 0,
            "median_change": float(np.median(np.abs(values - exact))),
            "largest_change": float(np.abs(values - exact).max()),
            "detected": vars(detected_at_false_alarm(values[1::2], values[::2], 0.05)),
        }
    return changed


def precision_table(changed: Mapping[str, Mapping[str, Any]]) -> Table:
    """The table of the documentation."""
    rows = []
    for precision, row in changed.items():
        flips, exact = row["flips"], precision == EXACT
        rows.append(
            [
                precision,
                "" if exact else f"{flips['value'] * flips['n']:.0f} of {flips['n']}",
                "" if exact else f"±{row['band']:.4f}",
                "" if exact else str(row["in_band"]),
                "" if exact else f"{row['median_change']:.4f}",
                "" if exact else f"{row['largest_change']:.4f}",
                estimate(row["detected"]),
            ]
        )
    head = [
        "precision",
        "decisions that flip",
        "band around τ in which they lie",
        "scenes in the band",
        "median change of a distance",
        "largest",
        "detected at 5%, τ chosen anew",
    ]
    count = changed[EXACT]["flips"]["n"]
    note = (
        f"{count} scenes of the miniature, every second one unsafe; τ and distance are between 0 "
        "and 1. Decisions are those with the τ that was calibrated in fp32; in earnest a profile "
        "of fp32 is refused, and τ is calibrated in the precision that is used."
    )
    return table(head, rows, note)
