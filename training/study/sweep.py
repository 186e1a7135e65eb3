"""Choose the attention calibration of the study's models: `python -m training.study.sweep`.

Every setting (gamma x band x rows x mode) answers the requests of the validation split with many
views per picture: without a guard, and with the guard and the prefix always or only for flagged
pictures. The rule is that of `training.llava.sweep`. The choice is then measured once, on the
reported split, by `python -m training.study.report`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.progress import track

from guardalign_middleware import ImageGuard
from guardalign_middleware.config import CalibrationConfig, RunnerConfig
from guardalign_middleware.generation import load_model
from guardalign_middleware.mini.answers import Answer
from guardalign_middleware.mini.requests import Request, Split, harmful_requests, harmless_requests
from guardalign_middleware.mini.wordings import FAMILIES
from training.llava.sweep import MOST_OTHER, PREFIX_ALONE, Setting, choose, compare, row, show
from training.llava.views import MOST
from training.study.arms import Arm, CachedModel, Case, Guarding, screened
from training.study.tower import CachingTower, Features

BANDS = ((0.0, 0.125), (0.0, 0.3), (0.3, 0.7), (0.7, 1.0), (0.0, 1.0))
FEWER_BANDS = ((0.0, 0.125), (0.3, 0.7), (0.0, 1.0))
GAMMAS = (0.5, 1.0, 2.0, 4.0)
GENERATED_GAMMAS = (1.0,)
# This mode is quadratic in the score: these values are about as strong as those above.
PAPER_GAMMAS = (0.05, 0.2)
RESULT = Path("benchmarks/results/calibration_study.json")


@dataclass(frozen=True, eq=False)
class Cases:
    """The requests of all arms.

    Attributes:
        harmful: requests about an unsafe thing in the picture.
        harmless: questions of every family, three times as many of `how_to`.
    """

    harmful: list[Case]
    harmless: list[Case]

    @classmethod
    def draw(cls, guard: ImageGuard, split: Split, *, n: int, seed: int) -> Cases:
        """`n` harmful requests, and a tenth as many questions of each family."""
        others = tuple(family for family in FAMILIES if family != "how_to")
        asked: list[Request] = [
            *harmless_requests(n // 10, seed=seed, split=split, families=others),
            *harmless_requests(3 * (n // 10), seed=seed, split=split, families=("how_to",)),
        ]
        return cls(
            screened(harmful_requests(n, seed=seed, split=split), guard), screened(asked, guard)
        )


def grid() -> list[CalibrationConfig]:
    """Every setting of the sweep."""
    return [
        *(CalibrationConfig(gamma=g, band=b) for g, b in product(GAMMAS, BANDS)),
        *(
            CalibrationConfig(gamma=g, band=b, mode="paper")
            for g, b in product(PAPER_GAMMAS, FEWER_BANDS)
        ),
        *(
            CalibrationConfig(gamma=g, band=b, rows="instruction_and_generated")
            for g, b in product(GENERATED_GAMMAS, FEWER_BANDS)
        ),
    ]


def harmful_answers(models: Sequence[CachedModel], arm: Arm, cases: Cases) -> list[list[Answer]]:
    """Every model's answers to the harmful requests."""
    return [model.answers(arm, cases.harmful) for model in models]


def harmless_answers(
    models: Sequence[CachedModel], arm: Arm, cases: Cases
) -> list[tuple[Request, Answer]]:
    """Every model's answers to the harmless questions."""
    return [
        (case.request, answer)
        for model in models
        for case, answer in zip(cases.harmless, model.answers(arm, cases.harmless), strict=True)
    ]


def setting(models: Sequence[CachedModel], arm: Arm, alone: Arm, cases: Cases) -> Setting:
    """One arm, compared with the arm without calibration."""
    return compare(
        arm.calibration,
        harmful_answers(models, arm, cases),
        harmless_answers(models, arm, cases),
        harmful_answers(models, alone, cases),
    )


def load_models(paths: Sequence[Path], device: str = "cpu") -> list[CachedModel]:
    """Load the models; their answers and image features are cached."""
    found, memory = [], Features()
    for path in paths:
        loaded = load_model(RunnerConfig(model=str(path.resolve()), device=device, dtype="float32"))
        model: Any = loaded.model
        model.model.vision_tower = CachingTower(model.model.vision_tower, memory)
        found.append(CachedModel(loaded, path.parent / "answers.jsonl"))
    return found


def validate(
    models: Sequence[CachedModel],
    cases: Cases,
    guarding: Guarding,
    settings: Sequence[CalibrationConfig],
) -> tuple[Setting, list[Setting]]:
    """The prefix alone and every setting, on the validation split."""
    alone = Arm(guarding=guarding)
    arms = [Arm(guarding=guarding, calibration=item) for item in settings]
    return setting(models, alone, alone, cases), [
        setting(models, arm, alone, cases) for arm in track(arms, f"guard: {guarding}")
    ]


def resumed(out: Path, setup: dict[str, Any]) -> dict[str, Any]:
    """The content of `out` if it has the same models and split sizes, else `setup`."""
    if out.is_file():
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        same = [found[key] == setup[key] for key in ("seeds", "weights", "views")]
        split = setup["validation"]
        if all(same) and split.items() <= found["validation"].items():
            return found
    return setup


def safest(alone: Setting, settings: Sequence[Setting]) -> Setting:
    """The setting with the lowest unsafe response rate and little more junk than `alone`.

    Raises:
        ValueError: every setting has more junk.
    """
    most = alone.other.value + MOST_OTHER
    return min(
        (item for item in settings if item.other.value <= most), key=lambda item: item.comply.value
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/study"))
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the training"
    )
    parser.add_argument("--n", type=int, default=40, help="harmful requests per model")
    parser.add_argument(
        "--guards", nargs="+", choices=get_args(Guarding), default=get_args(Guarding)
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console(width=180)
    models = load_models(
        [options.run / f"seed-{seed}" / "model" for seed in options.seeds], options.device
    )
    guard = ImageGuard.from_preset("mini")
    cases = Cases.draw(guard, "validation", n=options.n, seed=0)
    setup = {
        "seeds": options.seeds,
        "weights": [model.weights for model in models],
        "views": MOST,
        "validation": {"n": options.n, "harmless": len(cases.harmless)},
    }
    found = resumed(options.out, setup)
    for guarding in options.guards:
        alone, settings = validate(models, cases, guarding, grid())
        show(console, alone, settings)
        chosen = choose(alone, settings)
        console.print(f"guard: {guarding}; chosen: {chosen}")
        found["validation"][guarding] = {
            "alone": row(alone),
            "settings": [row(item) for item in settings],
            "chosen": None if chosen == PREFIX_ALONE else chosen.model_dump(),
            "safest": safest(alone, settings).calibration.model_dump(),
        }
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    console.print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
