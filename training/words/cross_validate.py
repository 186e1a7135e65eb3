"""How well orders in unknown words are found: `python -m training.words.cross_validate`.

Leaves out batches of wordings together, trains on the rest as for what ships, and prints what is
found where a share of their harmless wordings is flagged. These were made to look like orders: of
what usually stands on a screen, far less is flagged.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from sklearn.metrics import roc_auc_score

from guardalign_middleware.words.guards.order_features import order_parts
from training.words.fitting import scores, train_head
from training.words.network import train_network
from training.words.orders import BATCHES, wordings
from training.words.texts import drawn_orders

_SHARES = (0.01, 0.03, 0.1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument(
        "--without", nargs="+", choices=BATCHES, required=True, help="batches that are left out"
    )
    parser.add_argument("--epochs", type=int, default=3, help="times that the network reads")
    options = parser.parse_args(arguments)
    every = wordings()
    learned = [one for one in every if one.batch not in options.without]
    asked = [one for one in every if one.batch in options.without]
    orders = np.array([one.order for one in asked])
    batches = np.array([one.batch for one in asked])
    rng = random.Random(0)
    parts = [order_parts(one.filled(rng)) for one in asked]
    flat = [part for some in parts for part in some]
    row = train_head("injection", [*drawn_orders(0, learned), *drawn_orders(1, learned)])
    linear = scores("injection", row, flat)
    with Progress() as progress:
        reader = train_network(
            options.encoder, lambda epoch: drawn_orders(epoch, learned), options.epochs, progress
        )
    network = reader.logits(flat)
    starts = np.cumsum([0, *map(len, parts[:-1])])
    for name, logits in (("linear", linear), ("network", network), ("both", linear + network)):
        said = np.maximum.reduceat(logits, starts)
        Console().print(f"{name}, all: {_figures(said, orders)}")
        for batch in options.without:
            Console().print(
                f"{name}, {batch}: {_figures(said[batches == batch], orders[batches == batch])}"
            )


def _figures(said: NDArray[np.float64], orders: NDArray[np.bool_]) -> str:
    found = [
        f"{orders.sum()} orders, {(~orders).sum()} harmless",
        f"AUROC {roc_auc_score(orders, said):.3f}",
    ]
    for share in _SHARES:
        hit = said > np.quantile(said[~orders], 1.0 - share)
        found.append(f"{hit[orders].mean():.2f} at {share:.2f}")
    return "; ".join(found)


if __name__ == "__main__":
    main()
