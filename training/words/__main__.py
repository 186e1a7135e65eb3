"""Train the built-in classifiers of words: `python -m training.words`, in about a minute.

Writes the weights that ship. `python -m benchmarks.words.fit_thresholds` fits their thresholds
afterwards, on pictures.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score

from guardalign_middleware.words.guards.builtin import HEADS, KINDS, WEIGHTS, Head
from training.words.fitting import distances, train_head
from training.words.orders import wordings
from training.words.readmes import readme_texts
from training.words.texts import examples, order_texts

Labelled = list[tuple[str, bool]]


def texts_of(head: Head, seed: int, count: int) -> Labelled:
    """Texts of the banks, and for orders also of the corpus, and whether they are unsafe."""
    rng = random.Random(seed)
    if head == "harm":
        return [(one.text, one.harm) for one in examples(rng, count)]
    banks = [(one.text, one.injection) for one in examples(rng, count // 10)]
    prose = [(text, False) for text in readme_texts(rng, count)]
    return banks + prose + order_texts(rng, wordings(), copies=2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=20000, help="number of texts of the banks")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the texts")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="weights file to write")
    options = parser.parse_args(arguments)
    heads = {}
    for head in HEADS:
        heads[head] = train_head(head, texts_of(head, options.seed, options.texts))
        others = texts_of(head, options.seed + 1, 2000)
        fresh = random.Random(options.seed).sample(others, 500)
        far = distances(head, heads[head], [text for text, _ in fresh])
        area = roc_auc_score([not unsafe for _, unsafe in fresh], far)
        Console().print(f"{head}: AUROC {area:.4f} on other texts of the same wordings")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {str(head): row.astype(np.float16) for head, row in heads.items()},
        options.output,
        metadata={head: KINDS[head].version for head in HEADS},
    )
    Console().print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
