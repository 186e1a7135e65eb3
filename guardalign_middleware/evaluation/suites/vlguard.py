"""VLGuard's test set: safe pictures with safe and with unsafe questions, and unsafe pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from guardalign_middleware.evaluation.suites.archives import archived_pictures
from guardalign_middleware.evaluation.suites.manifest import Item, Manifest, Picture
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.evaluation.suites.rows import json_rows
from guardalign_middleware.evaluation.suites.tables import Asked, items_of

_ROWS = 1000
# Split → whether its pictures are safe, and the field of the question.
_SPLITS = {
    "unsafes": (False, "instruction"),
    "safe_unsafes": (True, "unsafe_instruction"),
    "safe_safes": (True, "safe_instruction"),
}


class VLGuard:
    """Its three subsets are the splits."""

    manifest = Manifest(
        name="vlguard",
        title="VLGuard",
        kind="safety",
        source="github.com/ys-zong/VLGuard",
        hub=("ys-zong/VLGuard",),
        revision="a2f85c9",
        licence="none is given; the data set on the hub is gated",
        counts=MappingProxyType({"unsafes": 442, "safe_unsafes": 558, "safe_safes": 558}),
        columns=("id", "image", "safe", "instr-resp"),
        prompt="{instr-resp instruction}",
        metric="attack_success_rate",
        judge="keywords anywhere in the answer for the unsafe splits; GPT-4's win rate for "
        "safe_safes",
        comparable="Keyword rates count words, not harm. The split safe_safes has no rate: its "
        "refusals are over-refusal.",
        max_new_tokens=256,
    )

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split; see `Suite`."""
        place = Place.of(self.manifest, folder)
        wanted = place.split(split)
        safe, field = _SPLITS[wanted]
        path = place.file("data/test.json")
        rows = json_rows(place, path, self.manifest.columns)
        if len(rows) != _ROWS:
            raise place.error(f"{path} has {len(rows)} rows, and {_ROWS:,} as published.")
        chosen = [row for row in rows if row["safe"] is safe]
        place.check_count(wanted, len(chosen), path)
        names = [row["image"] for row in chosen]
        at = place.find("test", "data/test", "images/test")
        pictures: Sequence[Picture]
        if at is None:  # the archive holds a folder "test"
            archive = place.file("test.zip", "data/test.zip")
            pictures = archived_pictures(place, archive, names, ("test", ""))
        else:
            pictures = place.named(at, names)
        return items_of(
            place,
            wanted,
            [
                (_ask(place, row, field), (picture,))
                for row, picture in zip(chosen, pictures, strict=True)
            ],
            label="safe" if wanted == "safe_safes" else "unsafe",
        )


def _ask(place: Place, row: Mapping[str, Any], field: str) -> Asked:
    pairs = [pair for pair in row["instr-resp"] if field in pair]
    if len(pairs) != 1:
        raise place.error(f"the row {row['id']} has {len(pairs)} of {field!r}.")
    about = {
        "category": row.get("harmful_category") or "safe",
        "subcategory": row.get("harmful_subcategory"),
        "response": pairs[0].get("response"),
    }
    return Asked(str(row["id"]), pairs[0][field], None, about)
