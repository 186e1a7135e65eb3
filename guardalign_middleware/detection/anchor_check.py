"""How similar the words of an anchor file are to an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.detection.anchor_file import Entry
from guardalign_middleware.detection.encoder_protocol import ImageTextEncoder


@dataclass(frozen=True)
class Word:
    """One text of an anchor file; `neutral` includes the texts of allowed categories."""

    text: str
    concept: str
    neutral: bool
    line: int


@dataclass(frozen=True)
class Overlap:
    """Two words of different meaning that the encoder hardly distinguishes."""

    first: Word
    second: Word
    similarity: float

    @property
    def message(self) -> str:
        """The two words, their lines, and the effect."""
        if self.second.neutral:
            effect = "anything similar to either counts as neutral"
        else:
            effect = "which category is reported is arbitrary"
        first, second = (
            f"{word.text!r} ({word.concept}, line {word.line})"
            for word in (self.first, self.second)
        )
        return f"{first} and {second} are {self.similarity:.3f} similar: {effect}."


@dataclass(frozen=True, eq=False)
class AnchorReport:
    """Similarities between the words and between the concepts of a file.

    Attributes:
        words: in the file's order.
        similarity: cosines of the words, float64 `[N, N]`.
        concepts: names in the file's order.
        concept_similarity: cosines of the concepts' normalised mean words, float64 `[C, C]`.
        overlaps: pairs of an unsafe word with a neutral one, or with one of another category, at or
            above the given similarity; most similar first.
    """

    words: tuple[Word, ...]
    similarity: NDArray[np.float64]
    concepts: tuple[str, ...]
    concept_similarity: NDArray[np.float64]
    overlaps: tuple[Overlap, ...]

    def nearest_neutral(self, category: str) -> tuple[Word, Word, float] | None:
        """The category's word and the neutral word that are most similar; None without any."""
        rows = [i for i, word in enumerate(self.words) if word.concept == category]
        columns = [i for i, word in enumerate(self.words) if word.neutral]
        if not columns:
            return None
        part = self.similarity[np.ix_(rows, columns)]
        row, column = np.unravel_index(int(part.argmax()), part.shape)
        return self.words[rows[row]], self.words[columns[column]], float(part[row, column])


def check_anchors(
    encoder: ImageTextEncoder, entries: Sequence[Entry], *, overlap: float = 0.95
) -> AnchorReport:
    """Embed all words and compare them.

    Args:
        encoder: the encoder of the detector.
        entries: from `read_entries`.
        overlap: cosine from which two words count as the same, in (0, 1].

    Raises:
        ValueError: `overlap` is out of range.
        ConfigError: the encoder does not know a word.
    """
    if not 0.0 < overlap <= 1.0:
        raise ValueError(f"overlap should be in (0, 1]. Received {overlap}.")
    words = tuple(
        Word(text, entry.name, entry.action == "allow", line)
        for entry in entries
        for text, line in zip(entry.variants, entry.lines, strict=True)
    )
    rows = encoder.encode_texts([word.text for word in words]).double().cpu().numpy()
    similarity = rows @ rows.T
    concepts = tuple(entry.name for entry in entries)
    numbers = np.repeat(np.arange(len(entries)), [len(entry.variants) for entry in entries])
    means = np.stack([rows[numbers == index].mean(axis=0) for index in range(len(entries))])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    unsafe = np.array([not word.neutral for word in words])
    apart = numbers[:, None] != numbers[None, :]
    # Each pair once, the unsafe word first; two neutral words may be similar.
    pairs = apart & unsafe[:, None] & (~unsafe[None, :] | np.triu(np.ones_like(apart)))
    found = [
        Overlap(words[i], words[j], float(similarity[i, j]))
        for i, j in np.argwhere(pairs & (similarity >= overlap)).tolist()
    ]
    found.sort(key=lambda pair: -pair.similarity)
    return AnchorReport(words, similarity, concepts, means @ means.T, tuple(found))
