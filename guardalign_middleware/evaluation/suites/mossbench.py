"""MOSSBench: harmless requests beside pictures that make models refuse them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from guardalign_middleware.evaluation.suites.manifest import Item, Manifest
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.evaluation.suites.rows import json_rows
from guardalign_middleware.evaluation.suites.tables import Asked, items_of

# Both splits number their pictures from 1, in folders of their own.
_FOLDERS = {"test": "data", "contrast": "data_contrast"}


class MOSSBench:
    """The harmless requests, and their harmful contrasts."""

    manifest = Manifest(
        name="mossbench",
        title="MOSSBench",
        kind="over-refusal",
        source="github.com/xirui-li/MOSSBench",
        revision="8d68b0614b39d8990a508e03d99975832f399db2",
        licence="CC-BY-SA-4.0 (the hub's card: CC-BY-4.0); for tests, not for training",
        counts=MappingProxyType({"test": 300, "contrast": 244}),
        columns=("pid", "image", "question", "metadata"),
        prompt="{question}",
        metric="refusal_rate",
        judge="GPT-4-turbo with the picture, one score of 0 or 1; an empty answer is a refusal",
        comparable='The judge\'s rule 4 calls "As an AI" a refusal, and our prefix begins with it: '
        "compare with the echo stripped only. The refusal of the contrast split is wanted. Many "
        "pictures are from the web, with licences of their own. The copy on the hub, "
        "AIcell/MOSSBench, was not read.",
        tested="records",
    )

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split; see `Suite`."""
        place = Place.of(self.manifest, folder)
        wanted = place.split(split)
        path = place.file(f"{_FOLDERS[wanted]}/images_information/information.json")
        rows = json_rows(place, path, self.manifest.columns)
        place.check_count(wanted, len(rows), path)
        pictures = place.named(path.parents[1], (row["image"] for row in rows))
        asked = []
        for row, picture in zip(rows, pictures, strict=True):
            kind = row["metadata"].get("over")
            asked.append(
                (Asked(str(row["pid"]), row["question"], None, {"category": kind}), (picture,))
            )
        return items_of(place, wanted, asked, label="safe" if wanted == "test" else "unsafe")
