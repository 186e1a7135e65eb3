"""Many words, and crops in one pass: `python -m benchmarks.detection.vocabulary`.

A picture of 480 × 320 pixels is cut into crops down to the encoder's input size. Its patches are
measured against the shipped concepts, and against 200 concepts of 50 words each: random unit
vectors around the shipped ones. Figures are ratios of CPU time on one thread, or of elapsed time
with `--device cuda`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from benchmarks.results import RESULTS, write_json
from benchmarks.tables import table
from guardalign_middleware.bench.device import processor
from guardalign_middleware.bench.timing import Call, compare_in_turn, is_noisy
from guardalign_middleware.config import EncoderConfig, GuardAlignConfig, PatchConfig
from guardalign_middleware.detection import AnchorBank, OpenClipEncoder
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.detection.transport import pack_anchors, transport_distances
from guardalign_middleware.mini.clutter import ITEM_SIDES
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS, concepts_of_style, draw_scene
from guardalign_middleware.types import CanonicalImage

RESULT = RESULTS / "detection_vocabulary.json"
CONCEPTS, WORDS = 200, 50
BATCHES = (16, 32, 64, 128, 256)
_SIZE = (480, 320)
_SPREAD = 0.7
_ITSELF = "encoder ÷ itself"


def many_words(concepts: Sequence[Tensor]) -> list[Tensor]:
    """`CONCEPTS` times unit rows `[WORDS, D]` around the means of the given ones."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for index in range(CONCEPTS):
        own = concepts[index % len(concepts)]
        noise = torch.randn(WORDS, own.shape[1], generator=generator).to(own.device)
        mean = functional.normalize(own.mean(dim=0), dim=0)
        noisy = mean + _SPREAD * functional.normalize(noise, dim=1)
        made.append(functional.normalize(noisy, dim=1))
    return made


def crops_of_a_scene(side: int) -> Tensor:
    """The crops of a scene of the miniature's world, `[M, 3, side, side]`."""
    rng = np.random.default_rng(0)
    concepts = concepts_of_style("noto")
    chosen = [concepts[index] for index in rng.choice(len(concepts), 6, replace=False)]
    scene = draw_scene(
        rng,
        chosen,
        width=_SIZE[0],
        height=_SIZE[1],
        item_sides=ITEM_SIDES,
        backgrounds=HELD_OUT_BACKGROUNDS,
        styles=("noto",),
    )
    boxes = patch_boxes(*_SIZE, PatchConfig(), side)
    return crop_patches(CanonicalImage(scene.pixels), boxes, side)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    detection = GuardAlignConfig.load("mini").detection

    def encoder(batch_size: int | None) -> OpenClipEncoder:
        changes = {"device": options.device, "batch_size": batch_size}
        config = EncoderConfig.model_validate({**detection.encoder.model_dump(), **changes})
        return OpenClipEncoder.load(config)

    chosen = encoder(None)
    crops = crops_of_a_scene(chosen.image_size)
    bank = AnchorBank.load(detection.anchors)
    banks = [*bank.categories.values(), *bank.neutral.values()]
    rows = chosen.encode_texts([word for words in banks for word in words])
    concepts = torch.split(rows, [len(words) for words in banks])
    patches = chosen.encode_images(crops)
    weights = torch.full((len(patches),), 1 / len(patches), dtype=torch.float64).to(patches.device)

    def encode(which: OpenClipEncoder) -> object:
        return which.encode_images(crops).cpu()

    def transport(words: Sequence[Tensor]) -> Call:
        packed = pack_anchors(words)

        def solve() -> object:
            with torch.inference_mode():
                solved = transport_distances(patches, weights, packed, detection.transport)
                return solved.distances.cpu()

        return solve

    calls: dict[str, Call] = {
        _ITSELF: partial(encode, chosen),
        f"transport to the {len(banks)} shipped concepts ÷ encoder": transport(concepts),
        f"transport to {CONCEPTS} concepts of {WORDS} words ÷ encoder": transport(
            many_words(concepts)
        ),
        **{
            f"encoder in chunks of {size} ÷ encoder": partial(encode, encoder(size))
            for size in BATCHES
        },
    }
    found = compare_in_turn(partial(encode, chosen), calls, pairs=options.pairs, clock=clock)
    where = torch.cuda.get_device_name() if options.device == "cuda" else processor()
    note = (
        f"{len(crops)} crops of one picture; the encoder is the miniature's, in chunks of "
        f"{chosen.batch_size}. Medians of {options.pairs} rounds on an {where}."
    )
    if is_noisy(found[0].ratio):
        note = f"**Void: the machine was too noisy, measure again.** {note}"
    figures = table(["time", "ratio (95% interval)"], [[one.name, str(one)] for one in found], note)
    write_json(
        options.out,
        {
            "comparisons": [vars(one) for one in found],
            "tables": {"detection_vocabulary": figures},
        },
    )
    console = Console()
    for one in found:
        console.print(f"{one.name}: {one}")
    console.print(note)


if __name__ == "__main__":
    main()
