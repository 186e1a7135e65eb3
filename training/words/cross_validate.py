"""How well orders in unknown words are found: `python -m training.words.cross_validate`.

Leaves out one batch, kind of attack or register of orders at a time, with a share of the harmless
wordings, and trains on the rest. It prints what is found at the threshold that ships, and where a
share of the harmless wordings that were left out is flagged. These were made to look like orders:
of what usually stands on a screen, far less is flagged.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from sklearn.metrics import roc_auc_score

from guardalign_middleware.words.guards.builtin import shipped_profile
from guardalign_middleware.words.injection import INJECTION_THRESHOLD, cues_in
from guardalign_middleware.words.plain import plain
from training.words.fitting import distances, train_head
from training.words.orders import Wording, wordings
from training.words.texts import order_texts

_SHARES = (0.01, 0.03, 0.1)
WAYS = ("batch", "kind", "register")


def left_out(known: Sequence[Wording], way: str, rng: random.Random) -> list[int]:
    """The fold of each wording.

    Args:
        known: the wordings.
        way: what is left out together: "batch", "kind" or "register" (of those that have one).
        rng: draws the fold of harmless wordings, except for batches.
    """
    names = sorted({getattr(one, way) for one in known if one.order or way == "batch"})
    return [
        names.index(getattr(one, way)) if one.order or way == "batch" else rng.randrange(len(names))
        for one in known
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="what is left out")
    options = parser.parse_args(arguments)
    every = wordings()
    ruled = {one.text: math.prod(1.0 - cue[3] for cue in cues_in(plain(one.text))) for one in every}
    for way in options.ways:
        rng = random.Random(0)
        folds = np.array(left_out(every, way, rng))
        for fold in range(folds.max() + 1):
            learned = [one for one, its in zip(every, folds, strict=True) if its != fold]
            asked = [one for one, its in zip(every, folds, strict=True) if its == fold]
            row = train_head("injection", order_texts(rng, learned, copies=2))
            far = distances("injection", row, [one.filled(rng) for one in asked])
            by_rule = np.array([ruled[one.text] <= INJECTION_THRESHOLD for one in asked])
            orders = np.array([one.order for one in asked])
            name = getattr(next(one for one in asked if one.order), way) or "none"
            Console().print(f"without {way} {name}: {_figures(far, by_rule, orders)}")


def _figures(
    far: NDArray[np.float64], by_rule: NDArray[np.bool_], orders: NDArray[np.bool_]
) -> str:
    found = [
        f"{orders.sum()} orders, {(~orders).sum()} harmless",
        f"AUROC {roc_auc_score(~orders, far):.3f}",
    ]
    for share in _SHARES:
        hit = far < np.quantile(far[~orders], share)
        found.append(f"{hit[orders].mean():.2f} at {share:.2f}")
    shipped = far <= shipped_profile("injection").threshold
    for name, hit in (
        ("as shipped", shipped),
        ("rules", by_rule),
        ("both", shipped | by_rule),
    ):
        found.append(f"{name} {hit[orders].mean():.2f} at {hit[~orders].mean():.2f}")
    return "; ".join(found)


if __name__ == "__main__":
    main()
