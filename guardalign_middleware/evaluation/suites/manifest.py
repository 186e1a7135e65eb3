"""What a suite says about itself, and what it gives: items with a prompt and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from pydantic import JsonValue

from guardalign_middleware.evaluation.suites.cells import StoredPicture

Kind = Literal["safety", "over-refusal", "utility"]
"""What a suite asks: does a model answer harm, refuse what is harmless, or answer right?"""
Metric = Literal[
    "unsafe_response_rate",
    "attack_success_rate",
    "refusal_rate",
    "accuracy",
    "mme",
    "mmbench",
    "vqa_accuracy",
]
"""The figure that the authors report; the first three are shares of the items."""
Tested = Literal["files", "records", "layout"]
"""What the loader was tested on: the real files; the real records with made pictures; or files made
as others describe them, where the real ones are gated or too large."""
Picture = Path | bytes | StoredPicture
"""A file, its bytes, or a picture in a table or archive that is read when it is needed."""


@dataclass(frozen=True)
class Manifest:
    """What a suite is, in the words of its authors where they gave some.

    Attributes:
        name: in `SUITES`, on the command line and in reports.
        title: as people know it.
        kind: what it asks.
        source: where it is published.
        hub: ids of its data set on the Hugging Face hub, the present one first.
        revision: the commit whose files were read for the loader; None = none was.
        licence: of the data.
        counts: rows by split; the first split is the one that is loaded if none is named.
        columns: that must be there, in the files as published.
        prompt: what the model is asked, with the columns in braces.
        metric: what the authors report.
        judge: how the authors judge an answer.
        comparable: which published figures a run is not comparable with, and why.
        paper: the column of the paper's tables that it belongs to; "" = none.
        max_new_tokens: the length of an answer in the authors' runs; None = they do not say.
        tested: what the loader was tested on.
        built_in: whether the suite is made here; it is loaded without a folder.
    """

    name: str
    title: str
    kind: Kind
    source: str
    licence: str
    counts: Mapping[str, int]
    columns: tuple[str, ...]
    prompt: str
    metric: Metric
    judge: str
    comparable: str
    hub: tuple[str, ...] = ()
    revision: str | None = None
    paper: str = ""
    max_new_tokens: int | None = None
    tested: Tested = "layout"
    built_in: bool = False

    @property
    def split(self) -> str:
        """The one that is loaded if none is named."""
        return next(iter(self.counts))

    def to_record(self) -> dict[str, JsonValue]:
        """What a page about a run says of the suite."""
        return {
            "title": self.title,
            "kind": self.kind,
            "source": self.source,
            "revision": self.revision,
            "licence": self.licence,
            "prompt": self.prompt,
            "metric": self.metric,
            "judge": self.judge,
            "comparable": self.comparable,
            "paper": self.paper,
        }


@dataclass(frozen=True)
class Item:
    """One request of a suite.

    Attributes:
        id: unique in its suite and split; the only part of an item that belongs into logs.
        prompt: for the model, complete.
        images: for the model, in their order; read them with `read_images`.
        target: the right answer, the answer an attack aims at, or None.
        metadata: what judges and tables need: `split`, `category`, and columns of the suite. Where
            a suite has harmful and harmless items, `label` is "unsafe" or "safe": the refusal of
            a safe one is over-refusal in a suite of harm, too.
    """

    id: str
    prompt: str
    images: tuple[Picture, ...] = ()
    target: str | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=lambda: MappingProxyType({}))

    def read_images(self) -> tuple[bytes, ...]:
        """The bytes of every picture.

        Raises:
            OSError: a file or table is gone since the suite was loaded.
        """
        return tuple(_bytes(image) for image in self.images)


class Suite(Protocol):
    """A benchmark that can be loaded from the files its authors published."""

    @property
    def manifest(self) -> Manifest:
        """What it is."""

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split.

        Args:
            folder: a clone of its repository, a snapshot or cache of the hub, or the folder that
                holds its files; None for a suite that is made here, and only for it.
            split: one of `manifest.counts`; None = the first.

        Raises:
            SuiteError: a file, column or picture is missing, or the number of rows differs.
            ConfigError: its tables need a library that is not installed.
        """


def _bytes(image: Picture) -> bytes:
    if isinstance(image, bytes):
        return image
    return image.read_bytes()
