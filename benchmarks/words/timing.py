"""What reading costs, beside one pass of an image encoder: `python -m benchmarks.words.timing`.

Photographs without words that installed packages bring along, and drawn pages of text, are read and
judged in one thread, each in turn with a pass of a ViT-B/32 of random weights on one image, in
processor time: a busy machine slows both. Ratios are of medians of pairs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from transformers import CLIPVisionConfig, CLIPVisionModel

from benchmarks.results import RESULTS, write_json
from benchmarks.words.harmless import DESIGNS, harmless_pictures
from guardalign_middleware.bench.device import processor
from guardalign_middleware.config import WordsConfig
from guardalign_middleware.types import CanonicalImage
from guardalign_middleware.words.reader import RapidReader
from guardalign_middleware.words.standard_judge import standard_judge
from training.photographs import installed

_SIDE = 640
_PAGES = ("medical leaflet", "news", "recipe", "how-to slide", "exam", "slide")


def pictures() -> dict[str, list[CanonicalImage]]:
    """Photographs, and pages of text, by kind."""
    photos = []
    for path in installed():
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        photo.thumbnail((_SIDE, _SIDE))
        photos.append(CanonicalImage(np.asarray(photo)))
    drawn = harmless_pictures("development", len(DESIGNS))
    pages = [CanonicalImage(one.pixels) for one in drawn if one.design in _PAGES]
    return {"photographs": photos, "pages of text": pages}


def measure(repetitions: int) -> dict[str, Any]:
    """The figures of every kind."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # The defaults of transformers are those of ViT-B/32.
    encoder = CLIPVisionModel(CLIPVisionConfig()).eval()
    batch = torch.randn(1, 3, 224, 224)
    reader, judge = RapidReader.load(WordsConfig().max_pixels), standard_judge()

    def encode() -> None:
        with torch.inference_mode():
            encoder(batch)

    found = {}
    for kind, images in pictures().items():
        rows = []
        for image in images:

            def read(image: CanonicalImage = image) -> None:
                judge.judge([line for line in reader.read(image) if line.text])

            rows.append(_pairs(encode, read, repetitions))
        words, passes = (np.array(column) for column in zip(*rows, strict=True))
        ratios = words / passes
        found[kind] = {
            "pictures": len(images),
            "median seconds": round(float(np.median(words)), 3),
            "most seconds": round(float(words.max()), 3),
            "seconds of a pass": round(float(np.median(passes)), 3),
            "median ratio": round(float(np.median(ratios)), 2),
            "lowest and highest ratio": [
                round(float(ratios.min()), 2),
                round(float(ratios.max()), 2),
            ],
        }
    return {"processor": processor(), "repetitions": repetitions, "kinds": found}


def _pairs(
    encode: Callable[[], None], read: Callable[[], None], repetitions: int
) -> tuple[float, float]:
    """Medians of the processor time of both, timed in turn after a warm-up."""
    times = np.empty((repetitions + 1, 2))
    for row in times:
        for column, call in ((1, encode), (0, read)):
            start = time.process_time()
            call()
            row[column] = time.process_time() - start
    words, passes = np.median(times[1:], axis=0)
    return float(words), float(passes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args(arguments)
    found = measure(options.repetitions)
    write_json(RESULTS / "words_time.json", found)
    Console().print(found)


if __name__ == "__main__":
    main()
