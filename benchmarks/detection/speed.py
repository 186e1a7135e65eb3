"""The time of a scan and of its parts: `python -m benchmarks.detection.speed`.

Speed is measured on an open_clip model of real widths with random weights, which is as fast as a
trained one; the effect of the fast precisions is measured on scenes of the miniature. All calls are
timed in turns in one process. The figures are ratios with 95% intervals: of CPU time on one thread,
or of elapsed time with `--device cuda`. If the encoder differs from itself by more than 2%, the run
is void: its table says so, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import copy
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from benchmarks.detection.precisions import (
    EXACT,
    PRECISIONS,
    changes,
    margins,
    precision_table,
)
from benchmarks.detection.transports import Transports
from benchmarks.guards import default_anchors, flag_nothing
from benchmarks.results import RESULTS, write_json
from benchmarks.tables import Table, interval, table
from guardalign_middleware import ImageGuard
from guardalign_middleware.bench.device import processor
from guardalign_middleware.bench.timing import Call, Comparison, compare, compare_in_turn, is_noisy
from guardalign_middleware.config import (
    DetectionConfig,
    EncoderConfig,
    FormConfig,
    GuardAlignConfig,
    PatchConfig,
    Precision,
)
from guardalign_middleware.detection import AnchorBank, OpenClipEncoder
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.types import CanonicalImage

RESULT = RESULTS / "detection_speed.json"
MODEL = "ViT-B-32-quickgelu"
_GRID = PatchConfig(sizes=(1 / 3,), overlap=0.5)  # 5 × 5 crops of a square picture
_SIDE = 1200
_FEW = 8


@dataclass(frozen=True)
class Goal:
    """Bounds on a ratio; by default none."""

    least: float = 0.0
    most: float = float("inf")

    def __str__(self) -> str:
        return f"≥ {self.least:g}" if self.least else f"≤ {self.most:g}" if self.most < 9 else ""


class RandomWords(OpenClipEncoder):
    """Embeds each text as a random row, because texts are encoded in the first scan only."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit rows `[N, D]`, the same for the same number of texts."""
        width = int(self._model.text_projection.shape[1])
        rows = torch.randn(len(texts), width, generator=torch.Generator().manual_seed(0))
        return functional.normalize(rows, dim=1).to(self._device)


class Subject:
    """An encoder with random weights of real widths, and its inputs.

    Args:
        model: an open_clip CLIP.
        options: `device`, and `model`, the name of its architecture.
    """

    def __init__(self, model: torch.nn.Module, options: argparse.Namespace) -> None:
        self.device = options.device
        # int8 runs on a CPU only.
        self.encoders = {
            precision: RandomWords(
                copy.deepcopy(model),
                None,
                EncoderConfig(model=options.model, device=self.device, precision=precision),
                fingerprint=f"random-{precision}",
            )
            for precision in PRECISIONS
            if precision != "int8" or self.device == "cpu"
        }
        self.bank = AnchorBank.load(default_anchors())
        self.picture = _picture(_SIDE, seed=0)
        self.boxes = patch_boxes(_SIDE, _SIDE, _GRID, self.side)
        self.crops = crop_patches(self.picture, self.boxes, self.side)

    @property
    def side(self) -> int:
        """Input of the encoder in pixels."""
        return self.encoders[EXACT].image_size

    def guard(self, patches: PatchConfig, remembered: int = 0) -> ImageGuard:
        """A guard that flags nothing."""
        detection = DetectionConfig(
            encoder=EncoderConfig(model="random"),
            anchors=default_anchors(),
            sees=(FormConfig(kind="native"),),
            patches=patches,
            remembered_verdicts=remembered,
        )
        config = GuardAlignConfig(name="speed", detection=detection)
        return flag_nothing(self.encoders[EXACT], self.bank, config)

    def encode(self, precision: Precision, crops: Tensor) -> Call:
        """A call of the encoder alone."""
        encoder = self.encoders[precision]
        return lambda: self.finish(encoder.encode_images(crops))

    def finish(self, rows: Tensor) -> Tensor:
        """The same rows, once the GPU is done."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return rows


def measure(model: torch.nn.Module, options: argparse.Namespace) -> dict[str, Any]:
    """Compare everything, and check that the compared calls compute the same."""
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    pairs = options.pairs
    subject = Subject(model, options)
    encoder = subject.encoders[EXACT]
    few = subject.crops[:_FEW]
    fast = [precision for precision in subject.encoders if precision != EXACT]
    precisions = compare_in_turn(
        subject.encode(EXACT, few),
        {
            "encoder ÷ itself": subject.encode(EXACT, few),
            **{f"fp32 ÷ {name}": subject.encode(name, few) for name in fast},
        },
        pairs=pairs,
        clock=clock,
    )
    jpeg = _jpeg(subject.picture)
    guard, remembering = subject.guard(_GRID), subject.guard(_GRID, remembered=1)
    remembering.scan(jpeg)
    width = encoder.encode_images(few[:1]).shape[1]
    transports = Transports(subject.bank, len(subject.boxes), width, options.device)
    scans = compare_in_turn(
        lambda: guard.scan(jpeg),
        {
            "encoder ÷ scan": subject.encode(EXACT, subject.crops),
            "transport ÷ scan": transports.ours,
            "scan of a picture seen before ÷ scan": lambda: remembering.scan(jpeg),
        },
        pairs=pairs,
        clock=clock,
    )
    pot = compare(
        "POT's loop ÷ transport",
        transports.ours,
        transports.pot,
        pairs=pairs,
        calls=3,
        clock=clock,
    )
    theirs = _open_clip_crops(model, subject)

    def ours() -> Tensor:
        crops = crop_patches(subject.picture, subject.boxes, subject.side)
        return subject.finish(encoder.normalised(crops))

    crops = compare(
        "open_clip's transform of each crop ÷ ours", ours, theirs, pairs=pairs, clock=clock
    )
    whole = subject.guard(PatchConfig(sizes=(1.0,)))
    pictures = [_picture(subject.side, seed) for seed in range(_FEW)]
    alone, together = [whole.scan(one) for one in pictures], whole.scan_many(pictures)
    many = compare(
        f"{_FEW} pictures one by one ÷ together",
        lambda: whole.scan_many(pictures),
        lambda: [whole.scan(one) for one in pictures],
        pairs=pairs,
        clock=clock,
    )
    comparisons = [
        precisions[0],
        *scans,
        pot,
        crops,
        *(_inverted(one) for one in precisions[1:]),
        many,
    ]
    solved = transports.ours()
    exact = transports.pot(tolerance=1e-12, iterations=100_000)
    scale = 255.0 * encoder._std.cpu()
    return {
        "processor": processor(),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "model": options.model,
        "crops": len(subject.boxes),
        "comparisons": [vars(one) for one in comparisons],
        "transport": {
            "concepts": len(transports.concepts),
            "iterations": solved.iterations,
            "solver": solved.solver,
            "largest_difference": float(np.abs(solved.distances.numpy() - exact).max()),
        },
        "crops_differ_by_levels": float(((ours() - theirs()).cpu().abs() * scale).max()),
        "batch_changes_distance_by": max(
            abs(one.distance - other.distance) for one, other in zip(alone, together, strict=True)
        ),
    }


def goals(device: str) -> dict[str, Goal]:
    """The goals, by name of the comparison."""
    gpu = device != "cpu"
    return {
        "encoder ÷ scan": Goal(least=0.90 if gpu else 0.95),
        "transport ÷ scan": Goal(most=0.05 if gpu else 0.005),
        "scan of a picture seen before ÷ scan": Goal(most=0.02),
        "POT's loop ÷ transport": Goal(least=15.0),
        "open_clip's transform of each crop ÷ ours": Goal(least=2.5),
        "fp32 ÷ bf16": Goal(least=1.7),
        "fp32 ÷ int8": Goal(least=2.5),
    }


def void(found: dict[str, Any]) -> bool:
    """Whether the machine was too noisy."""
    return is_noisy(found["comparisons"][0]["ratio"])


def speed_table(found: dict[str, Any]) -> Table:
    """The table of the documentation."""
    goal_of = goals(found["device"])
    rows = []
    for row in found["comparisons"]:
        goal, ratio = goal_of.get(row["name"], Goal()), row["ratio"]
        reached = "yes" if goal.least <= ratio <= goal.most else "**no**"
        rows.append([row["name"], _ratio(row), str(goal), reached if str(goal) else ""])
    transport = found["transport"]
    where = (
        f"CPU time on one thread of an {found['processor']}"
        if found["device"] == "cpu"
        else f"elapsed time on an {found['device']}"
    )
    note = (
        f"{found['model']} with random weights; medians of {found['comparisons'][0]['pairs']} "
        f"pairs, {where}. A scan is that of a JPEG of {_SIDE} × {_SIDE} pixels in "
        f"{found['crops']} crops against the {transport['concepts']} concepts of the default "
        f"anchors. Transport takes {transport['iterations']} iterations, and differs from "
        f"`ot.sinkhorn` in float64 by at most {transport['largest_difference']:.0e}; crops differ "
        f"from open_clip's by at most {found['crops_differ_by_levels']:.1f} of 255 levels; a "
        f"distance, scanned together, by at most {found['batch_changes_distance_by']:.0e}."
    )
    if void(found):
        note = f"**Void: the machine was too noisy, measure again.** {note}"
    return table(["time", "ratio (95% interval)", "goal", "reached"], rows, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--scenes", type=int, default=400, help="scenes of the miniature")
    parser.add_argument("--model", default=MODEL, help="an open_clip architecture")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    if options.device == "cpu":
        torch.set_num_threads(1)
    model = open_clip.create_model(options.model, pretrained=None)
    found = measure(model, options)
    console = Console()
    for row in found["comparisons"]:
        console.print(f"{row['name']}: {_ratio(row)}")
    found["precisions"] = changes(margins(options.scenes))
    found["tables"] = {
        "detection_speed": speed_table(found),
        "detection_precisions": precision_table(found["precisions"]),
    }
    write_json(options.out, found)
    console.print(f"written: {options.out}")
    if void(found):
        console.print("void: the encoder differs from itself by more than 2%", style="red")
        sys.exit(1)


def _open_clip_crops(model: torch.nn.Module, subject: Subject) -> Callable[[], Tensor]:
    """A call that puts each crop through the model's own transform."""
    transform = image_transform_v2(
        PreprocessCfg(**open_clip.get_model_preprocess_cfg(model)), is_train=False
    )
    pil = subject.picture.to_pil()
    boxes = subject.boxes.tolist()
    return lambda: subject.finish(
        torch.stack([transform(pil.crop(tuple(box))) for box in boxes]).to(subject.device)
    )


def _ratio(row: dict[str, Any]) -> str:
    return interval(row["ratio"], row["low"], row["high"], ".3g")


def _inverted(one: Comparison) -> Comparison:
    """A ÷ B from B ÷ A."""
    return replace(one, ratio=1 / one.ratio, low=1 / one.high, high=1 / one.low)


def _picture(side: int, seed: int) -> CanonicalImage:
    """Clouds with grain, about as slow to decode from JPEG as a photograph."""
    rng = np.random.default_rng(seed)
    clouds = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0.0, 6.0, (side, side, 3))
    return CanonicalImage((np.asarray(clouds) + grain).clip(0, 255).astype(np.uint8))


def _jpeg(image: CanonicalImage) -> bytes:
    buffer = io.BytesIO()
    image.to_pil().save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
