"""What a scan in several processes costs above the encoder: `python -m benchmarks.bulk.throughput`.

`guardalign scan`'s pool of two processes reads, scans and records JPEG files, and two processes
encode the same crops and do nothing else, in turns. The encoder has real widths and random weights,
which are as fast as trained ones. Times are CPU time of all processes: with a process on each core,
that is what bounds the throughput, and a busy machine disturbs it least.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import psutil
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file

from benchmarks.guards import default_anchors
from benchmarks.results import RESULTS, write_json
from guardalign_middleware.bench.device import processor
from guardalign_middleware.bench.timing import Call, compare, is_noisy
from guardalign_middleware.bulk.entries import Inputs, find_inputs, read_entries
from guardalign_middleware.bulk.entry import Entry
from guardalign_middleware.bulk.job import Job
from guardalign_middleware.bulk.pool import WorkerPool, end_with_parent
from guardalign_middleware.bulk.results import ResumeFile
from guardalign_middleware.config import (
    DetectionConfig,
    EncoderConfig,
    FormConfig,
    GuardAlignConfig,
    PatchConfig,
)
from guardalign_middleware.detection import (
    Detector,
    OpenClipEncoder,
    ThresholdFit,
    ThresholdProfile,
)
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.types import CanonicalImage

RESULT = RESULTS / "bulk_throughput.json"
MODEL = "ViT-B-32-quickgelu"
WORKERS = 2
_SIDE = 1200
_GRID = PatchConfig(sizes=(1 / 3,), overlap=0.5)  # 5 × 5 crops of a square picture
_CROPS = 25
GOAL = 0.95


def measure(folder: Path, pictures: int, pairs: int) -> dict[str, Any]:
    """Compare the pool with the encoder, and the encoder with itself."""
    config = _config(folder)
    files = [folder / f"{number}.jpg" for number in range(pictures)]
    for number, file in enumerate(files):
        file.write_bytes(_jpeg(number))
    with _pool(config, files, folder / "results.jsonl") as scan, _encoders(config, files) as encode:
        itself = compare("encoder ÷ itself", encode, encode, pairs=pairs, clock=_cpu_seconds)
        ratio = compare("encoder ÷ pool", scan, encode, pairs=pairs, clock=_cpu_seconds)
    return {
        "processor": processor(),
        "model": MODEL,
        "pictures": pictures,
        "crops": _CROPS,
        "workers": WORKERS,
        "goal": GOAL,
        "comparisons": [vars(itself), vars(ratio)],
    }


def _config(folder: Path) -> GuardAlignConfig:
    """A preset with random weights, whose threshold is below every distance."""
    torch.manual_seed(0)
    weights, profile = folder / "random.safetensors", folder / "profile.json"
    save_file(open_clip.create_model(MODEL).state_dict(), weights)
    detection = DetectionConfig(
        encoder=EncoderConfig(model=MODEL, pretrained=str(weights)),
        anchors=default_anchors(),
        sees=(FormConfig(kind="native"),),
        patches=_GRID,
        remembered_verdicts=0,
    )
    (meter,) = Detector.from_config(detection).meters
    fit = ThresholdFit(max_false_alarm=None, safe_images=0, false_alarm=0.0)
    ThresholdProfile(-0.001, "none: for timing", fit, meter.binding).save(profile)
    return GuardAlignConfig(
        name="throughput", detection=detection.model_copy(update={"profile": profile})
    )


@contextmanager
def _pool(config: GuardAlignConfig, files: Sequence[Path], results: Path) -> Iterator[Call]:
    """A call that scans and records the files, as the command does."""
    inputs = find_inputs([str(file) for file in files], [], config.intake)
    with WorkerPool(Job(config), WORKERS) as pool:

        def scan() -> None:
            results.unlink(missing_ok=True)
            with ResumeFile.open(results) as file:
                for outcome in pool.outcomes(_entries(inputs, config)):
                    if outcome.error is not None:
                        raise RuntimeError(outcome.error)
                    file.add(outcome.records)

        yield scan


def _entries(inputs: Inputs, config: GuardAlignConfig) -> Iterator[Entry]:
    for file in inputs.files:
        yield from read_entries(file, "image", config.intake, lambda _: False)


@contextmanager
def _encoders(config: GuardAlignConfig, files: Sequence[Path]) -> Iterator[Call]:
    """A call that encodes the crops of as many pictures, in as many processes."""
    context = get_context("spawn")
    with ProcessPoolExecutor(WORKERS, context, _load, (config.detection,)) as pool:

        def encode() -> None:
            list(pool.map(_encode, range(len(files))))

        yield encode


_encoder: OpenClipEncoder
_crops: torch.Tensor


def _load(detection: DetectionConfig) -> None:
    global _encoder, _crops
    end_with_parent()
    _encoder = OpenClipEncoder.load(detection.encoder)
    with Image.open(io.BytesIO(_jpeg(0))) as picture:
        pixels = CanonicalImage(np.asarray(picture))
    _crops = crop_patches(pixels, _boxes(_encoder), _encoder.image_size)


def _encode(_: int) -> None:
    _encoder.encode_images(_crops)


def _boxes(encoder: OpenClipEncoder) -> NDArray[np.int64]:
    return patch_boxes(_SIDE, _SIDE, _GRID, encoder.image_size)


def _jpeg(seed: int) -> bytes:
    """A picture with shapes and noise, all different."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (12, 12, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _cpu_seconds() -> float:
    """CPU time of this process and of those it started."""
    here = psutil.Process()
    times = [one.cpu_times() for one in (here, *here.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=8, help="in each call")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.pictures, options.pairs)
    write_json(options.json, found)
    Console().print(found)
    if is_noisy(found["comparisons"][0]["ratio"]):
        Console(stderr=True).print("The encoder differs from itself by more than 2%: void.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
