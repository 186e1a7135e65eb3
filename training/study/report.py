"""The figures of the study on the reported split: `python -m training.study.report`.

Run it once, after `python -m training.study.sweep` has chosen. It reports the chosen setting, if
any, the setting that is safest on the validation split regardless of its cost, and the default
setting.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

from guardalign_middleware import ImageGuard
from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.mini.questions import is_correct
from training.llava.sweep import PREFIX_ALONE, Setting, row
from training.study.arms import Arm, CachedModel
from training.study.prefixes import NEUTRAL_PREFIX, REVERSE_PREFIX, SAFE_PREFIX
from training.study.sweep import (
    RESULT,
    Cases,
    harmful_answers,
    harmless_answers,
    load_models,
    setting,
)

VIEWS = (1, 4, 16)
PREFIXES = {
    "none": None,
    "neutral": NEUTRAL_PREFIX,
    "reverse": REVERSE_PREFIX,
    "safe": SAFE_PREFIX,
}
_ATTENTION_CASES = 10


@dataclass(frozen=True)
class Reported:
    """One arm on the reported split, compared with the same arm without calibration.

    Attributes:
        prefix: its name in `PREFIXES`.
        calibration: "alone", or a name of `contenders`.
        views: images per picture.
        guarding: as in `Arm`.
        setting: the figures.
        not_seen: share of the harmful requests answered "I do not see it in the picture". It
            counts as a refusal, but a model that no longer sees the picture says the same.
        newly_right: harmless questions answered right with calibration only.
        newly_wrong: harmless questions answered right without calibration only.
        p_changed: two-sided sign test on the changed answers to harmful requests.
        p_right: two-sided sign test on the changed answers to harmless questions.
    """

    prefix: str
    calibration: str
    views: int
    guarding: str
    setting: Setting
    not_seen: Estimate
    newly_right: int
    newly_wrong: int
    p_changed: float
    p_right: float


def two_sided(gained: int, lost: int) -> float:
    """Exact sign test (McNemar's test) on the changed pairs; 1 if there are none."""
    changed = gained + lost
    return float(stats.binomtest(gained, changed).pvalue) if changed else 1.0


def reported(
    models: Sequence[CachedModel], cases: Cases, arm: Arm, *, prefix: str, calibration: str
) -> Reported:
    """Measure one arm, and the same arm without calibration."""
    alone = Arm(prefix=arm.prefix, views=arm.views, guarding=arm.guarding)
    found = setting(models, arm, alone, cases)
    before, after = (
        [
            request.question is not None and is_correct(request.question, answer.text)
            for request, answer in harmless_answers(models, which, cases)
        ]
        for which in (alone, arm)
    )
    unseen = [
        answer.is_not_seen for answers in harmful_answers(models, arm, cases) for answer in answers
    ]
    newly_right = sum(b and not a for a, b in zip(before, after, strict=True))
    newly_wrong = sum(a and not b for a, b in zip(before, after, strict=True))
    return Reported(
        prefix,
        calibration,
        arm.views,
        arm.guarding,
        found,
        rate(sum(unseen), len(unseen)),
        newly_right,
        newly_wrong,
        two_sided(found.newly_refused, found.newly_complied),
        two_sided(newly_right, newly_wrong),
    )


def contenders(validation: dict[str, Any]) -> dict[str, CalibrationConfig]:
    """The settings to report: the chosen one, if any, the safest, and the default."""
    part = validation["none"]
    named = {"chosen": part["chosen"], "safest": part["safest"], "default": {}}
    found: dict[str, CalibrationConfig] = {}
    for name, values in named.items():
        calibration = None if values is None else CalibrationConfig(**values)
        if calibration is not None and calibration not in found.values():
            found[name] = calibration
    return found


def arms(settings: dict[str, CalibrationConfig]) -> list[tuple[Arm, str, str]]:
    """Every arm of the report, with the names of its prefix and its calibration.

    - without calibration: every prefix at every number of views;
    - with each setting: the safe prefix at every number of views, and, except with the default, the
      other prefixes at the most views, where calibration should not change anything;
    - with the guard: the safe prefix at the most views.
    """
    most = VIEWS[-1]
    found = [
        (Arm(prefix=text, views=views), name, "alone")
        for views, (name, text) in product(VIEWS, PREFIXES.items())
    ]
    for name, calibration in settings.items():
        found += [(Arm(calibration=calibration, views=views), "safe", name) for views in VIEWS]
        found += [
            (Arm(prefix=PREFIXES[prefix], calibration=calibration, views=most), prefix, name)
            for prefix in ("neutral", "reverse")
            if name != "default"
        ]
    found.append((Arm(prefix=None, guarding="always"), "none", "alone"))
    for name, calibration in {"alone": PREFIX_ALONE, **settings}.items():
        found += [
            (Arm(calibration=calibration, guarding="always"), "safe", name),
            (Arm(calibration=calibration, guarding="when_flagged"), "safe", name),
        ]
    return found


def attention(models: Sequence[CachedModel], cases: Cases) -> dict[str, list[float]]:
    """The instruction's share of attention to the safe prefix, by views and layer."""
    found = {}
    for views in VIEWS:
        shares = [
            model.prefix_attention(Arm(views=views), cases.harmful[:_ATTENTION_CASES])
            for model in models
        ]
        found[str(views)] = np.mean(np.concatenate(shares), axis=0).round(4).tolist()
    return found


def detector(guard: ImageGuard, cases: Cases) -> dict[str, str | None]:
    """Fingerprints of the detector that cleaned the pictures."""
    verdict = guard.scan(cases.harmful[0].image)
    return {"encoder": verdict.evidence.encoder, "profile": verdict.profile}


def show(console: Console, rows: Sequence[Reported]) -> None:
    """Print a row per arm."""
    table = Table(title="Reported split")
    columns = ("views", "guard", "prefix", "calibration", "complies (USR)", "by model", "changed")
    for column in (*columns, "p", "not seen", "other", "over-refusal", "right", "changed", "p"):
        table.add_column(column)
    for item in rows:
        found = item.setting
        table.add_row(
            str(item.views),
            item.guarding,
            item.prefix,
            item.calibration,
            str(found.comply),
            " ".join(f"{value:.2f}" for value in found.comply_by_seed),
            f"-{found.newly_refused} +{found.newly_complied}",
            f"{item.p_changed:.2g}",
            f"{item.not_seen.value:.3f}",
            f"{found.other.value:.3f}",
            f"{found.over_refusal.value:.3f}",
            str(found.right),
            f"+{item.newly_right} -{item.newly_wrong}",
            f"{item.p_right:.2g}",
        )
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/study"))
    parser.add_argument("--n", type=int, default=40, help="harmful requests per model")
    parser.add_argument("--seed", type=int, default=12, help="seed of the requests")
    parser.add_argument("--out", type=Path, default=RESULT, help="output of the sweep, extended")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console(width=180)
    found = json.loads(options.out.read_text(encoding="utf-8"))
    models = load_models([options.run / f"seed-{seed}" / "model" for seed in found["seeds"]])
    guard = ImageGuard.from_preset("mini")
    cases = Cases.draw(guard, "reported", n=options.n, seed=options.seed)
    settings = contenders(found["validation"])
    rows = [
        reported(models, cases, arm, prefix=prefix, calibration=name)
        for arm, prefix, name in track(arms(settings), "arms")
    ]
    show(console, rows)
    found["reported"] = {
        "n": options.n,
        "harmless": len(cases.harmless),
        "seed": options.seed,
        "detected": sum(case.flagged for case in cases.harmful),
        "false alarms": sum(case.flagged for case in cases.harmless),
        "guard": detector(guard, cases),
        "settings": {name: item.model_dump() for name, item in settings.items()},
        "attention": attention(models, cases),
        "arms": [{**asdict(item), "setting": row(item.setting)} for item in rows],
    }
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    console.print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
