"""How large pictures leave, and what encoding them costs: `python -m benchmarks.encoding`.

The pictures are made: smooth colours, fine noise and shapes. Each is read, scanned by the miniature
encoder in crops of 1, 1/2 and 1/4 of its shorter side, and encoded as the guard does. For
comparison, it is encoded as PNG at the fastest level. Times are the least CPU times of some
repetitions in one thread; the encoder of a real preset takes many times longer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.console import Console

from benchmarks.results import RESULTS, write_json
from benchmarks.tables import Table, markdown, table
from guardalign_middleware.config import GuardAlignConfig, PatchConfig
from guardalign_middleware.detection import Detector
from guardalign_middleware.encode import encode, png_bytes
from guardalign_middleware.intake import load_image
from guardalign_middleware.testing.photos import file_of, photo
from guardalign_middleware.types import CanonicalImage

Work = Callable[[CanonicalImage], object]
RESULT = RESULTS / "encoding.json"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG, quality 85, 4:2:0": ("JPEG", {"quality": 85, "subsampling": 2}),
    "JPEG, quality 92, 4:4:4": ("JPEG", {"quality": 92, "subsampling": 0}),
    "progressive JPEG, quality 85": ("JPEG", {"quality": 85, "progressive": True}),
    "PNG": ("PNG", {}),
    "WebP, quality 80": ("WEBP", {"quality": 80}),
    "lossless WebP": ("WEBP", {"lossless": True}),
}


def measure(width: int, height: int, repetitions: int) -> dict[str, Any]:
    """Every kind of file: bytes before and after, and seconds of scan and encoding."""
    picture = photo(width, height)
    scan = _scanner()
    rows = []
    for name, (image_format, options) in KINDS.items():
        file = file_of(picture, image_format, **options)
        image = load_image(file)
        encoded = encode(image)
        rows.append(
            {
                "kind": name,
                "bytes": len(file),
                "encoded": len(encoded.data),
                "png": len(png_bytes(image)),
                "scan_s": _seconds(scan, image, repetitions),
                "encode_s": _seconds(encode, image, repetitions),
                "png_s": _seconds(png_bytes, image, repetitions),
            }
        )
    return {
        "width": width,
        "height": height,
        "rows": rows,
        "tables": {"encoding": _table(rows, width, height)},
    }


def _scanner() -> Work:
    detection = GuardAlignConfig.load("mini").detection
    detector = Detector.from_config(
        detection.model_copy(update={"patches": PatchConfig(), "profile": None})
    )
    return detector.distances


def _seconds(work: Work, image: CanonicalImage, repetitions: int) -> float:
    best = float("inf")
    for _ in range(repetitions):
        start = time.process_time()
        work(image)
        best = min(best, time.process_time() - start)
    return best


def _table(rows: Sequence[dict[str, Any]], width: int, height: int) -> Table:
    lines = [
        [
            row["kind"],
            f"{row['encoded'] / row['bytes']:.2f}",
            f"{row['png'] / row['bytes']:.2f}",
            f"{row['encode_s']:.2f}",
            f"{row['png_s']:.2f}",
            f"{row['encode_s'] / row['scan_s']:.2f}",
        ]
        for row in rows
    ]
    head = [
        f"source, {width} × {height}",
        "bytes out ÷ in",
        "as fast PNG",
        "encoding, s",
        "fast PNG, s",
        "encoding ÷ scan",
    ]
    note = (
        "Made pictures; CPU seconds of one thread on the machine of the run. The scan is the "
        "miniature encoder's, in crops of 1, 1/2 and 1/4 of the shorter side."
    )
    return table(head, lines, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = measure(options.width, options.height, options.repetitions)
    write_json(RESULT, found)
    stored = found["tables"]["encoding"]
    Console().print(markdown(stored["head"], stored["rows"]), soft_wrap=True)


if __name__ == "__main__":
    main()
