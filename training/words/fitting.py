"""Fit a linear classifier of words to labelled texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from guardalign_middleware.words.guards.builtin import KINDS, Head

# C of the regressions.
_STRENGTHS: dict[Head, float] = {"harm": 3.0, "injection": 10.0}


def matrix(head: Head, texts: Sequence[str]) -> csr_matrix:
    """What a classifier sees of texts, `[N, buckets]`."""
    rows = [KINDS[head].features(text) for text in texts]
    ends = np.cumsum([0, *(len(buckets) for buckets, _ in rows)])
    return csr_matrix(
        (
            np.concatenate([values for _, values in rows]),
            np.concatenate([buckets for buckets, _ in rows]),
            ends,
        ),
        shape=(len(texts), KINDS[head].buckets),
    )


def train_head(head: Head, labelled: Sequence[tuple[str, bool]]) -> NDArray[np.float16]:
    """Weights and, last, the bias of one classifier, `[buckets + 1]`."""
    model = LogisticRegression(
        C=_STRENGTHS[head], class_weight="balanced", solver="liblinear", random_state=0
    )
    model.fit(
        matrix(head, [text for text, _ in labelled]), np.array([unsafe for _, unsafe in labelled])
    )
    return np.append(model.coef_[0], model.intercept_).astype(np.float16)


def scores(head: Head, row: NDArray[np.floating], texts: Sequence[str]) -> NDArray[np.float64]:
    """How unsafe these weights say each text is, as a logit, `[N]`."""
    weights = row.astype(np.float64)
    said: NDArray[np.float64] = matrix(head, texts) @ weights[:-1] + weights[-1]
    return said
