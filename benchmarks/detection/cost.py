"""What a scan costs with each preset, and the smallest thing that it sees.

`python -m benchmarks.detection.cost`

Costs on a GPU are computed from operations and bytes (`roofline`), for the crops that the
detector's own plan makes of the frames of each family (`families`). On a CPU, the encoders of
`MEASURED` are timed with random weights, which take as long as trained ones; `--keep` keeps the
stored times.
`python -m benchmarks.pages.figures` puts the tables into docs/cost.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import open_clip
import torch
from rich.console import Console

from benchmarks.detection.families import FAMILIES, FOREIGN, Family, Seen
from benchmarks.detection.hosted import HOSTED
from benchmarks.detection.roofline import TOWERS, Tower
from benchmarks.results import RESULTS, read_json, write_json
from benchmarks.tables import Table, table
from guardalign_middleware.config import DetectionConfig, GuardAlignConfig
from guardalign_middleware.detection.forms import SIGHTS, Form, configured_forms, form_of
from guardalign_middleware.detection.patches import crop_count, crop_sides
from guardalign_middleware.detection.plan import Look
from guardalign_middleware.preset_files import available_presets

FILE = RESULTS / "cost.json"
MOST_SHARE = 0.05
"""Of a request, for the guard."""
PICTURES = {
    "12 MP photo": (4000, 3000),
    "480 × 320": (480, 320),
    "3000 × 300": (3000, 300),
    "3000 × 40": (3000, 40),
}
HUB = {
    "hf-hub:chs20/FARE4-ViT-B-16-laion2B-s34B-b88K": "ViT-B-16",
    "hf-hub:chs20/TeCoA4-ViT-B-16-laion2B-s34B-b88K": "ViT-B-16",
}
"""open_clip's configuration of each encoder that a preset names by its place on the hub."""
MEASURED = ("ViT-B-32-quickgelu", "ViT-B-16-SigLIP2", "MobileCLIP2-S2")
_LEGIBLE = 14  # pixels of a thing's side, as for the models: shared yardstick, not a measurement
_BATCH = 4


@dataclass(frozen=True)
class Cost:
    """What a preset makes of a picture.

    Attributes:
        crops: how many are encoded.
        smallest: side of the smallest thing with 14 pixels in a crop, in pixels of the picture.
        model_smallest: the same in the best frame of the model; None = the model is not known.
        scan: least time to encode the crops on the GPU, in seconds.
        request: least time of the model's own request, in seconds.
    """

    crops: int
    smallest: float
    model_smallest: float | None
    scan: float
    request: float

    @property
    def share(self) -> float:
        """Of the request, for the scan."""
        return self.scan / self.request


def architecture(detection: DetectionConfig) -> str:
    """The name of the encoder's configuration in open_clip."""
    return HUB.get(detection.encoder.model, detection.encoder.model)


def model_forms(seen: Seen, width: int, height: int) -> list[Form]:
    """The frames of a family as forms of a `width` × `height` picture."""
    box = (0.0, 0.0, float(width), float(height))
    if seen.cropped:
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    return [Form("model", *frame, box) for frame in seen.frames]


def cost(detection: DetectionConfig, family: Family | None, width: int, height: int) -> Cost:
    """What a preset makes of a `width` × `height` picture.

    Args:
        detection: of the preset.
        family: of its runner; None = it has none.
        width: of the picture, in pixels.
        height: of the picture, in pixels.

    Raises:
        ConfigError: even the coarsest crops are more than the budget.
    """
    tower = TOWERS[architecture(detection)]
    forms = [form_of(form, width, height) for form in configured_forms(detection.sees)]
    model_smallest = None
    if family is not None:
        frames = model_forms(family.seen(width, height), width, height)
        model_smallest = min(_LEGIBLE * max(form.scale) for form in frames)
        forms += frames
    look = Look(configured_forms(detection.sees), None, detection.patches, tower.side)
    kept = look.within_budget(forms)
    crops = sum(crop_count(f.width, f.height, detection.patches, tower.side) for f in kept)
    known = family or FOREIGN
    return Cost(
        crops,
        min(_smallest(form, detection, tower) for form in kept),
        model_smallest,
        tower.scan_seconds(crops),
        known.decoder.request_seconds(known.seen(width, height).tokens),
    )


def _smallest(form: Form, detection: DetectionConfig, tower: Tower) -> float:
    finest = crop_sides(form.width, form.height, detection.patches, tower.side)[-1]
    return _LEGIBLE * max(form.scale) * max(1.0, finest / tower.side)


def real_presets() -> dict[str, GuardAlignConfig]:
    """The presets for photographs."""
    return {name: GuardAlignConfig.load(name) for name in available_presets() if name != "mini"}


def presets_table() -> Table:
    """Crops, cost and the smallest thing seen, by preset."""
    rows = []
    for name, config in real_presets().items():
        detection, family = config.detection, FAMILIES.get(name)
        costs = {size: cost(detection, family, *size) for size in PICTURES.values()}
        photo = costs[PICTURES["12 MP photo"]]
        model = "" if photo.model_smallest is None else f"{photo.model_smallest:.0f}"
        rows.append(
            [
                f"`{name}`",
                "unknown" if family is None else family.view,
                architecture(detection),
                f"{detection.patches.overlap:g}",
                str(detection.patches.max_crops),
                *(str(each.crops) for each in costs.values()),
                f"{1e3 * photo.scan:.1f}",
                f"{1e3 * photo.request:.0f}",
                f"{max(each.share for each in costs.values()):.1%}",
                f"{photo.smallest:.0f}",
                model,
            ]
        )
    head = (
        "preset",
        "the model sees",
        "encoder",
        "overlap",
        "`max_crops`",
        *(f"crops, {name}" for name in PICTURES),
        "scan of the photo, ms",
        "its request, ms",
        "largest share",
        "smallest thing, px",
        "of the model, px",
    )
    note = (
        "Computed, in bfloat16 at 790 TFLOP/s and 4.3 TB/s. Request: a prompt of 64 words and the "
        "picture, 128 tokens of answer, one at a time, without the model's image tower; for an "
        "unknown model, that of LLaVA-1.5 7B. Largest share: of the four pictures. Smallest thing: "
        "on the 12 MP photo (4:3), its side when it has 14 pixels in the finest crop, or in the "
        "model's best frame."
    )
    return table(head, rows, note)


def encoders_table(measured: Mapping[str, Mapping[str, float]]) -> Table:
    """Cost of a crop, by encoder."""
    users: dict[str, list[int]] = {}
    for name, config in real_presets().items():
        if name not in FAMILIES:
            photo = cost(config.detection, None, *PICTURES["12 MP photo"])
            users.setdefault(architecture(config.detection), []).append(photo.crops)
    rows = []
    for name, tower in sorted(TOWERS.items(), key=lambda item: item[1].flops):
        here = cpu_of(name, measured)
        about = "" if name in measured else "≈ "
        crops = max(users.get(name, [0]))
        rows.append(
            [
                name,
                str(tower.side),
                f"{tower.flops / 1e9:.1f}",
                f"{1e3 * tower.scan_seconds(256) / 256:.3f}",
                f"{about}{here['fp32']:.0f}",
                f"{about}{here['bf16']:.0f}",
                f"{about}{crops * here['bf16'] / 1e3:.0f}" if crops else "",
            ]
        )
    head = (
        "encoder",
        "input, px",
        "GFLOP a crop",
        "GPU, ms a crop",
        "CPU, fp32, ms a crop",
        "CPU, bf16, ms a crop",
        "CPU, bf16, s a 12 MP photo, no runner",
    )
    note = (
        f"GPU: computed, 256 crops a batch. CPU: one thread, random weights, {_BATCH} crops a "
        "batch, shorter of two; ≈ is not measured but computed by operations, from ViT-B/16 or "
        "MobileCLIP2-S2."
    )
    return table(head, rows, note)


def cpu_of(name: str, measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Milliseconds of a crop on a core, by precision, computed where they were not measured.

    Args:
        name: of the encoder.
        measured: the times of some encoders.
    """
    like = name if name in measured else _like(name)
    return {
        kind: time * TOWERS[name].flops / TOWERS[like].flops
        for kind, time in measured[like].items()
    }


def _like(name: str) -> str:
    """The measured encoder of the same kind: convolutions take a CPU longer than matrices."""
    return "MobileCLIP2-S2" if name.startswith("MobileCLIP") else "ViT-B-16-SigLIP2"


def sights_table() -> Table:
    """What the named values of `detection.sees` cover of the documented sizes."""
    width, height = PICTURES["12 MP photo"]
    rows = []
    for hosted in HOSTED:
        seen = hosted.size(width, height)
        forms = [form_of(form, width, height) for form in SIGHTS[hosted.sight]]
        native = max(
            ((form.width, form.height) for form in forms if form.name == "native"),
            key=lambda size: size[0] * size[1],
        )
        covered = all(have >= want for have, want in zip(native, seen, strict=True))
        rows.append(
            [
                f"`{hosted.sight}`",
                hosted.models,
                f"{seen[0]} × {seen[1]}",
                f"{native[0]} × {native[1]}",
                "yes" if covered else "**no**, coarser",
            ]
        )
    head = ("`detection.sees`", "models", "they see", "native form", "covered")
    note = (
        "A photo of 4000 × 3000 pixels; sizes by the providers' documentation, 2026. The native "
        "form is before `patches.max_crops`: if the budget is too small for it, it is scanned in a "
        "smaller frame, and the evidence says in which."
    )
    return table(head, rows, note)


def cpu_milliseconds(name: str) -> dict[str, float]:
    """Time a crop on one thread, with random weights, in fp32 and in bf16."""
    torch.set_num_threads(1)
    model = open_clip.create_model(name, pretrained=None).visual.eval()
    side = TOWERS[name].side
    found = {}
    for kind, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        tower, crops = model.to(dtype), torch.rand(_BATCH, 3, side, side).to(dtype)
        times = []
        with torch.inference_mode():
            for _ in range(3):
                start = time.process_time()
                tower(crops)
                times.append(time.process_time() - start)
        # The first one is a warm-up.
        found[kind] = 1e3 * min(times[1:]) / _BATCH
    return found


def tables(measured: Mapping[str, Mapping[str, float]]) -> dict[str, Table]:
    """All tables, by the names in the marks of the pages."""
    return {
        "cost_presets": presets_table(),
        "cost_encoders": encoders_table(measured),
        "cost_sights": sights_table(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the stored times of the CPU")
    options = parser.parse_args(arguments)
    measured = (
        read_json(FILE)["measured"]
        if options.keep
        else {name: cpu_milliseconds(name) for name in MEASURED}
    )
    write_json(FILE, {"measured": measured, "tables": tables(measured)})
    Console().print(f"written: {FILE}")


if __name__ == "__main__":
    main()
