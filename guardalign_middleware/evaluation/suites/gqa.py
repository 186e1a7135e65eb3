"""GQA's testdev set, balanced: questions in one table, pictures in another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from guardalign_middleware.evaluation.suites.manifest import Item, Manifest
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.evaluation.suites.rows import PICTURE, table_rows
from guardalign_middleware.evaluation.suites.tables import Asked, items_of
from guardalign_middleware.evaluation.suites.utility import SHORT, hub_ids

_QUESTIONS, _PICTURES = "testdev_balanced_instructions", "testdev_balanced_images"


class GQA:
    """Its questions, each with the picture that it names."""

    manifest = Manifest(
        name="gqa",
        title="GQA (testdev, balanced)",
        kind="utility",
        source="huggingface.co/datasets/lmms-lab-encoder/GQA",
        hub=hub_ids("GQA"),
        licence="not read",
        counts=MappingProxyType({"testdev": 12_578}),
        columns=("id", "imageId", "question", "answer"),
        prompt="{question}" + SHORT,
        metric="accuracy",
        judge="equal but for case and punctuation",
        comparable="The paper has no figure of it.",
    )

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split; see `Suite`."""
        place = Place.of(self.manifest, folder)
        wanted = place.split(split)
        paths = place.shards(f"{_QUESTIONS}/testdev-*.parquet", f"data/{_QUESTIONS}-*.parquet")
        rows = table_rows(place, paths, self.manifest.columns)
        place.check_count(wanted, len(rows), paths[0].parent)
        shown = place.shards(f"{_PICTURES}/testdev-*.parquet", f"data/{_PICTURES}-*.parquet")
        pictures = {
            row["id"]: row[PICTURE] for row in table_rows(place, shown, ("id",), ("image",))
        }
        missing = sorted({row["imageId"] for row in rows} - set(pictures))
        if missing:
            raise place.error(
                f"{shown[0]} lacks {len(missing)} pictures, the first is {missing[0]}."
            )
        asked = []
        for row in rows:
            one = Asked(str(row["id"]), row["question"] + SHORT, row["answer"], {"category": "all"})
            asked.append((one, pictures[row["imageId"]]))
        return items_of(place, wanted, asked)
