"""What a million pictures cost, and the servers for a rate: `python -m benchmarks.scale.planning`.

Encoding is computed from operations (`benchmarks.detection.roofline`) for a GPU, and from the
measured time of a crop for a core. Transport is timed here, in CPU time on one thread, with random
embeddings.
`python -m benchmarks.pages.figures` puts the tables into docs/scale.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console

from benchmarks.detection.cost import FILE, architecture, cost, cpu_of, real_presets
from benchmarks.detection.families import FAMILIES
from benchmarks.results import RESULTS, read_json, write_json
from benchmarks.scale.queueing import Servers, arrivals, servers_for, simulate
from benchmarks.tables import Table, table
from guardalign_middleware.config import TransportConfig
from guardalign_middleware.detection.transport import pack_anchors, transport_distances

RESULT = RESULTS / "scale.json"
GPU_HOUR, CORE_HOUR = 3.5, 0.04
"""Dollars: what an H200 and a core of a rented server cost, roughly; put your own prices in."""
DECODE_MS = 80.0
"""Of a 12 MP JPEG on a core, in the middle of 30 to 130 ms; others by their pixels."""
PHOTO, SMALL = (4000, 3000), (1024, 768)
SIDES = (224, 512, 1024, 2048, 4096)
CONCEPTS = (16, 64, 256, 1024)
RATES = (2.0, 10.0, 50.0, 200.0)
_MILLION = 1e6
_HOUR = 3600.0
_VARIANTS, _WIDTH, _PATCHES, _ROUNDS = 4, 512, 255, 5


@dataclass(frozen=True)
class Hours:
    """What a million pictures of one size take.

    Attributes:
        gpu: hours of a GPU, at its full rate.
        decoding: hours of a core, for reading the files.
        cores: hours of a core, with no GPU.
    """

    gpu: float
    decoding: float
    cores: float

    @property
    def with_gpu(self) -> float:
        """Dollars."""
        return self.gpu * GPU_HOUR + self.decoding * CORE_HOUR

    @property
    def without_gpu(self) -> float:
        """Dollars."""
        return self.cores * CORE_HOUR


def hours(name: str, size: tuple[int, int], measured: Mapping[str, Mapping[str, float]]) -> Hours:
    """What a million pictures take with a preset.

    Args:
        name: of the preset.
        size: of the pictures, in pixels.
        measured: milliseconds of a crop on a core, by encoder.
    """
    detection = real_presets()[name].detection
    found = cost(detection, FAMILIES.get(name), *size)
    decode = DECODE_MS / 1e3 * size[0] * size[1] / (PHOTO[0] * PHOTO[1])
    crop = cpu_of(architecture(detection), measured)["bf16"] / 1e3
    return Hours(
        *(
            _MILLION * seconds / _HOUR
            for seconds in (found.scan, decode, decode + found.crops * crop)
        )
    )


def million_table(measured: Mapping[str, Mapping[str, float]]) -> Table:
    """Cost of a million pictures, by preset."""
    rows = []
    for name in real_presets():
        cells = [f"`{name}`"]
        for size in (SMALL, PHOTO):
            one = hours(name, size, measured)
            cells += [
                f"{_MILLION / _HOUR / one.gpu:,.0f}",
                f"{one.decoding / one.gpu:.0f}",
                f"{one.with_gpu:,.0f}",
                f"{one.cores:,.0f}",
                f"{one.without_gpu:,.0f}",
            ]
        rows.append(cells)
    head = ["preset"]
    for what in ("1024 × 768", "12 MP"):
        head += [
            f"{what}: pictures/s a GPU",
            "cores to decode for it",
            "$, GPU",
            "core hours, no GPU",
            "$, no GPU",
        ]
    note = (
        f"A million pictures, at ${GPU_HOUR} an hour for an H200 and ${CORE_HOUR} for a core. GPU: "
        "computed at its full rate, which nothing reaches: plan with half of it. Core: measured "
        f"time of a crop, one thread. Decoding: {DECODE_MS:.0f} ms for 12 MP."
    )
    return table(head, rows, note)


def size_table() -> Table:
    """Crops by the size of the picture."""
    names = [name for name in real_presets() if name not in FAMILIES]
    rows = []
    for name in names:
        detection = real_presets()[name].detection
        crops = [cost(detection, None, side, side * 3 // 4).crops for side in SIDES]
        rows.append([f"`{name}`", *map(str, crops), str(detection.patches.max_crops)])
    head = ["preset", *(f"{side} × {side * 3 // 4}" for side in SIDES), "`max_crops`"]
    note = "Crops of a picture, each at the cost of the encoder's crop; presets without a runner."
    return table(head, rows, note)


def transport_milliseconds(concepts: int) -> float:
    """CPU time of one picture's transport, on one thread; the shortest of some.

    Args:
        concepts: to look for, each with four wordings.
    """
    torch.set_num_threads(1)
    made = torch.Generator().manual_seed(23)

    def unit(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, generator=made), dim=-1)

    anchors = pack_anchors([unit(_VARIANTS, _WIDTH) for _ in range(concepts)])
    patches, weights = unit(_PATCHES, _WIDTH), torch.ones(_PATCHES)
    times = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        transport_distances(patches, weights, anchors, TransportConfig())
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def concepts_table(times: Mapping[str, float], crop_ms: float) -> Table:
    """Transport by the number of concepts, beside the encoding of the same picture."""
    encoding = _PATCHES * crop_ms
    rows = [
        [f"{int(concepts):,}", f"{took:.0f}", f"{took / encoding:.1%}"]
        for concepts, took in times.items()
    ]
    note = (
        f"{_PATCHES} crops, {_VARIANTS} wordings a concept, random embeddings of {_WIDTH}, CPU "
        f"time of one thread; encoding them with ViT-B/32 takes {encoding / 1e3:.1f} s."
    )
    return table(["concepts", "transport, ms", "of the encoding"], rows, note)


def servers_table() -> Table:
    """Servers by rate, so that 99 of 100 answers come within some times that of one alone."""
    rows = []
    for name, seconds, together in (("CPU, 1 s", 1.0, 1), ("GPU, 50 ms", 0.05, 16)):
        for rate in RATES:
            if rate * seconds > 100:
                continue
            count = servers_for(rate, seconds, 3.0 * seconds, together=together)
            times = arrivals(rate, 20_000)
            waits = simulate(
                times, [seconds] * len(times), Servers(count, together=together, places=10_000)
            )
            rows.append(
                [
                    name,
                    f"{rate:g}",
                    str(count),
                    f"{waits.busy:.0%}",
                    f"{waits.quantile(0.5):.2f}",
                    f"{waits.quantile(0.99):.2f}",
                ]
            )
    head = ["a scan", "requests/s", "servers", "busy", "p50, s", "p99, s"]
    note = (
        "Simulated: requests at random, 99 of 100 answers within three times the time of a scan. A "
        "CPU scans one picture after another; the GPU takes up to 16 small ones in one pass."
    )
    return table(head, rows, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the stored times of transport")
    options = parser.parse_args(arguments)
    crops = read_json(FILE)["measured"]
    times = (
        read_json(RESULT)["transport"]
        if options.keep
        else {str(concepts): transport_milliseconds(concepts) for concepts in CONCEPTS}
    )
    tables = {
        "scale_million": million_table(crops),
        "scale_size": size_table(),
        "scale_concepts": concepts_table(times, crops["ViT-B-32-quickgelu"]["bf16"]),
        "scale_servers": servers_table(),
    }
    write_json(RESULT, {"transport": times, "tables": tables})
    Console().print(f"written: {RESULT}")


if __name__ == "__main__":
    main()
