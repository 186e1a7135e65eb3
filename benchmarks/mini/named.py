"""What the miniature LLaVA names and the guard has not flagged: `python -m benchmarks.mini.named`.

Fresh scenes of 256 px, on backgrounds never trained on, with one unsafe thing and up to two safe
ones, are changed by every attack of `guardalign attack` that needs no model. The unguarded model is
asked what it sees, in words that it was never trained on. Where it names something unsafe, the
guard's detector has to have flagged the very picture that the model got. Intervals are 95% Wilson
intervals; the pictures of one scene are not independent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.results import RESULTS, write_json
from benchmarks.tables import estimate, table
from guardalign_middleware import CalibratedRunner, GuardAlign
from guardalign_middleware.evaluation.attacks import FAMILIES, Attack, Target
from guardalign_middleware.evaluation.attacks.defences import smallest_crops
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.mini.questions import (
    MOST_THINGS,
    draw_question_scene,
    draw_things,
    names_unsafe,
)
from guardalign_middleware.mini.wordings import PHRASINGS
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from guardalign_middleware.types import CanonicalImage
from training.answers import runner_alone
from training.requests import Request

RESULT = RESULTS / "mini_named.json"
UNTOUCHED = "untouched"
# First in every seed, so that no stream here equals one of the training or of another benchmark.
_DOMAIN = 0x0A5C_EA11
# Enlarged pictures are large; more of them at once gain nothing.
_CHUNK = 16


@dataclass(frozen=True)
class NamedRow:
    """One attack, one family or all of them.

    Attributes:
        family: of the attack.
        attack: its name; empty for a sum over several.
        named: share of the pictures in which the model names something unsafe.
        missed: share of those that the detector does not flag; None where the model names nothing.
    """

    family: str
    attack: str
    named: Estimate
    missed: Estimate | None


@dataclass(frozen=True)
class Outcome:
    """One picture: its attack, whether the model names something unsafe, whether it is flagged.

    `flagged` is True as well where the model names nothing: there is nothing to miss.
    """

    family: str
    attack: str
    named: bool
    flagged: bool


def draw_scenes(n: int, seed: int) -> list[tuple[Target, str]]:
    """Scenes with the box of their one unsafe thing, and a question about each."""
    return [_scene(np.random.default_rng((_DOMAIN, seed, number))) for number in range(n)]


def _scene(rng: np.random.Generator) -> tuple[Target, str]:
    questions = PHRASINGS["what"].held_out
    while True:
        things = draw_things(rng, unsafe=1, safe=int(rng.integers(0, MOST_THINGS)))
        try:
            scene = draw_question_scene(rng, things, HELD_OUT_BACKGROUNDS)
        except ValueError:  # the things do not fit beside each other
            continue
        boxes = tuple(item.box for item in scene.unsafe_items)
        question = questions[int(rng.integers(len(questions)))]
        return Target(CanonicalImage(scene.pixels), boxes), question


def measure(
    chain: GuardAlign, runner: CalibratedRunner, *, n: int, seed: int, progress: Progress
) -> list[Outcome]:
    """Ask about every scene under every attack, and scan the pictures that are named unsafe.

    Args:
        chain: the guarded chain of the preset.
        runner: the chain's own runner, asked without a guard.
        n: number of scenes.
        seed: of the scenes and of the attacks.
        progress: display.
    """
    scenes = draw_scenes(n, seed)
    crops = smallest_crops(chain.guard.detector)
    ask = runner_alone(runner, prefix=False, calibrate=False)
    arms = _arms()
    task = progress.add_task("pictures", total=n * len(arms))
    outcomes = []
    for number, (family, name, attack) in enumerate(arms):
        for start in range(0, n, _CHUNK):
            requests = []
            for index, (scene, question) in list(enumerate(scenes))[start : start + _CHUNK]:
                rng = np.random.default_rng((_DOMAIN, seed, index, number))
                shown = scene if attack is None else attack(scene, crops, rng)
                requests.append(Request(question, shown.image))
            for request, answer in zip(requests, ask(requests), strict=True):
                named = names_unsafe(answer.text)
                assert request.image is not None  # by construction
                flagged = not named or chain.guard.scan(request.image).flagged
                outcomes.append(Outcome(family, name, named, flagged))
            progress.advance(task, len(requests))
    return outcomes


def _arms() -> list[tuple[str, str, Attack | None]]:
    attacks = [
        (family, name, attack) for family, arms in FAMILIES.items() for name, attack in arms.items()
    ]
    return [("", UNTOUCHED, None), *attacks]


def rows(outcomes: Sequence[Outcome]) -> list[NamedRow]:
    """A row for each attack, each family and all attacks together.

    Raises:
        ValueError: there are no outcomes.
    """
    attacked = [one for one in outcomes if one.family]
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for one in outcomes:
        groups.setdefault((one.family, one.attack), []).append(one)
    for family in dict.fromkeys(one.family for one in attacked):
        groups[family, ""] = [one for one in attacked if one.family == family]
    groups["all", ""] = attacked
    return [_row(family, attack, group) for (family, attack), group in groups.items()]


def _row(family: str, attack: str, outcomes: Sequence[Outcome]) -> NamedRow:
    named = sum(one.named for one in outcomes)
    missed = sum(not one.flagged for one in outcomes)
    return NamedRow(
        family, attack, rate(named, len(outcomes)), rate(missed, named) if named else None
    )


def show(console: Console, found: Iterable[NamedRow]) -> None:
    """Print the table; sums come last."""
    shown = Table(title="Named unsafe by the unguarded model: rate [95% Wilson interval]")
    for column in ("family", "attack", "pictures", "named", "of these not flagged"):
        shown.add_column(column)
    for row in found:
        missed = "" if row.missed is None else str(row.missed)
        shown.add_row(row.family, row.attack, str(row.named.n), str(row.named), missed)
    console.print(shown)


def to_json(preset: str, found: Sequence[NamedRow], *, n: int, seed: int) -> dict[str, Any]:
    """The figures, the settings, and the table for the pages."""
    records = [asdict(row) for row in found]
    cells = [
        [
            row["family"],
            row["attack"] or "**together**",
            str(row["named"]["n"]),
            estimate(row["named"]),
            estimate(row["missed"]),
        ]
        for row in records
    ]
    head = ("family", "attack", "pictures", "named by the model", "of these not flagged")
    note = f"{n} scenes; share (95% interval). The pictures of one scene are not independent."
    return {
        "preset": preset,
        "n": n,
        "seed": seed,
        "rows": records,
        "tables": {"mini_named": table(head, cells, note)},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="number of scenes")
    parser.add_argument("--seed", type=int, default=2_026)
    parser.add_argument("--preset", default="mini", help="name of a preset, or a YAML file")
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console(width=120)
    chain = GuardAlign.from_preset(options.preset)
    if not isinstance(chain.runner, CalibratedRunner):
        raise TypeError("The benchmark asks a local runner.")
    with Progress(console=console) as progress:
        outcomes = measure(chain, chain.runner, n=options.n, seed=options.seed, progress=progress)
    found = rows(outcomes)
    show(console, found)
    write_json(options.json, to_json(chain.config.name, found, n=options.n, seed=options.seed))
    console.print(f"written: {options.json}")


if __name__ == "__main__":
    main()
