"""JailBreakV-28K's mini set: jailbreaks of text models beside pictures, and of picture models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from guardalign_middleware.evaluation.suites.manifest import Item, Manifest
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.evaluation.suites.rows import csv_rows
from guardalign_middleware.evaluation.suites.tables import Asked, items_of

_FOLDER = "JailBreakV_28K"


class JailBreakV:
    """The mini set."""

    manifest = Manifest(
        name="jailbreakv-mini",
        title="JailBreakV-28K mini",
        kind="safety",
        source="huggingface.co/datasets/JailbreakV-28K/JailBreakV-28k",
        hub=("JailbreakV-28K/JailBreakV-28k",),
        licence="MIT",
        counts=MappingProxyType({"mini": 280}),
        columns=("id", "jailbreak_query", "redteam_query", "format", "policy", "image_path"),
        prompt="{jailbreak_query}",
        metric="attack_success_rate",
        judge="Llama Guard",
        comparable="Most pictures are not on the hub but behind a form of the authors. The number "
        "of rows is the hub's; the file itself was not read.",
    )

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split; see `Suite`."""
        place = Place.of(self.manifest, folder)
        wanted = place.split(split)
        name = "mini_JailBreakV_28K.csv"
        path = place.file(f"{_FOLDER}/{name}", name)
        rows = csv_rows(place, path, self.manifest.columns)
        place.check_count(wanted, len(rows), path)
        pictures = place.named(path.parent, (row["image_path"] for row in rows))
        asked = []
        for row, picture in zip(rows, pictures, strict=True):
            about = {name: row[name] for name in ("redteam_query", "format")}
            one = Asked(
                row["id"], row["jailbreak_query"], None, {"category": row["policy"], **about}
            )
            asked.append((one, (picture,)))
        return items_of(place, wanted, asked)
