"""Examples: masked pictures, covered, with what became of each arm's answer, and never its text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from guardalign_middleware.config import IntakePolicy, OutputConfig
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.evaluation.experiment.reading import Experiment
from guardalign_middleware.evaluation.report.blocks import Pictures
from guardalign_middleware.output import load_as_scanned
from guardalign_middleware.thumbnails import covered_thumbnail

_SHOWN = 12


def examples(made: Experiment, judge: str) -> Pictures:
    """The first items with one picture that was masked."""
    return Pictures(tuple(islice(_masked(made, judge), _SHOWN)))


def _masked(made: Experiment, judge: str) -> Iterator[tuple[str, str]]:
    scans = made.folder.scans()
    if not scans:
        return
    config = made.folder.about["config"]
    intake = IntakePolicy.model_validate(config["intake"])
    output = OutputConfig.model_validate(config["output"])
    for item in made.chosen.items:
        images = scans.get(item.id, {}).get("images", ())
        if len(images) != 1 or images[0]["decision"] != "mask":
            continue
        try:
            picture = load_as_scanned(item.read_images()[0], intake, output)
        except (GuardAlignError, OSError):
            continue  # its file has gone since it was scanned
        if picture.sha256 != images[0]["sha256"]:
            continue  # it has changed, and what has to be covered may lie elsewhere
        boxes = [tuple(box) for box in images[0]["boxes"]]
        boxes += [tuple(region["box"]) for region in images[0]["regions"]]
        labels = [
            f"{arm} {judged[item.id].label}"
            for arm, judged in made.judged[judge].items()
            if item.id in judged and arm in ("vanilla", "prefix", "full")
        ]
        words = f"{item.id}: {images[0]['category']}; {', '.join(labels)}"
        yield covered_thumbnail(picture.pixels, boxes), words
