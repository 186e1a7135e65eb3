"""Train the built-in classifiers of words: `python -m training.words --encoder DIR`.

Writes the weights that ship. On two cores, the network takes an hour and a half, the linear
classifiers two minutes. `python -m benchmarks.words.fit_thresholds` fits their thresholds
afterwards, on pictures.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score

from guardalign_middleware.words.guards.builtin import FOLDER, KINDS, WEIGHTS, Head
from training.words.fitting import scores, train_head
from training.words.network import train_network, write_network
from training.words.orders import wordings
from training.words.texts import Labelled, drawn_orders, examples

_OF_HARM = 20000


@cache  # both classifiers of orders learn from the same texts
def draw(head: Head, number: int) -> Labelled:
    """Texts to learn from, and whether they are unsafe; each number draws others."""
    if head == "injection":
        return drawn_orders(number, wordings())
    return [(one.text, one.harm) for one in examples(random.Random(number), _OF_HARM)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--epochs", type=int, default=3, help="times that the network reads")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to write to")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    heads: dict[Head, NDArray[np.float16]] = {
        "harm": train_head("harm", draw("harm", 0)),
        "injection": train_head("injection", [*draw("injection", 0), *draw("injection", 1)]),
    }
    save_file(
        {str(head): row for head, row in heads.items()},
        options.output / WEIGHTS.name,
        metadata={str(head): kind.version for head, kind in KINDS.items()},
    )
    with Progress() as progress:
        reader = train_network(
            options.encoder, lambda epoch: draw("injection", epoch), options.epochs, progress
        )
    write_network(reader, options.output)
    for head, row in heads.items():
        texts, unsafe = zip(*random.Random(0).sample(draw(head, 100), 500), strict=True)
        said = scores(head, row, texts)
        if KINDS[head].reads:
            said = said + reader.logits(texts)
        area = roc_auc_score(unsafe, said)
        Console().print(f"{head}: AUROC {area:.4f} on other texts of the same wordings")


if __name__ == "__main__":
    main()
