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
from numpy.typing import NDArray
from rich.console import Console
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from guardalign_middleware.words.guards.builtin import HEADS, WEIGHTS
from guardalign_middleware.words.guards.features import BUCKETS, VERSION, features
from training.words.texts import Example, examples


def matrix(texts: Sequence[str]) -> csr_matrix:
    """Features of texts, `[N, BUCKETS]`."""
    rows = [features(text) for text in texts]
    ends = np.cumsum([0, *(len(buckets) for buckets, _ in rows)])
    return csr_matrix(
        (
            np.concatenate([values for _, values in rows]),
            np.concatenate([buckets for buckets, _ in rows]),
            ends,
        ),
        shape=(len(texts), BUCKETS),
    )


def train_head(known: csr_matrix, unsafe: Sequence[bool], strength: float) -> NDArray[np.float16]:
    """Weights and, last, the bias of one classifier, `[BUCKETS + 1]`."""
    model = LogisticRegression(C=strength, class_weight="balanced", solver="liblinear")
    model.fit(known, np.array(unsafe))
    return np.append(model.coef_[0], model.intercept_).astype(np.float16)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=20000, help="number of training texts")
    parser.add_argument("--strength", type=float, default=3.0, help="C of the regression")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the texts")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="weights file to write")
    options = parser.parse_args(arguments)
    known = list(examples(random.Random(options.seed), options.texts))
    fresh = list(examples(random.Random(options.seed + 1), 2000))
    rows, checked = (matrix([one.text for one in group]) for group in (known, fresh))
    heads = {}
    for head in HEADS:
        heads[head] = train_head(rows, _labels(known, head), options.strength)
        weights = heads[head].astype(np.float64)
        logits = checked @ weights[:-1] + weights[-1]
        area = roc_auc_score(_labels(fresh, head), logits)
        Console().print(f"{head}: AUROC {area:.4f} on new texts of the same banks")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {str(name): head for name, head in heads.items()},
        options.output,
        metadata={"features": VERSION},
    )
    Console().print(f"wrote {options.output}")


def _labels(group: Sequence[Example], head: str) -> list[bool]:
    return [bool(getattr(one, head)) for one in group]


if __name__ == "__main__":
    main()
