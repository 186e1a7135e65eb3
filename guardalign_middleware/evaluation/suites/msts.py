"""MSTS: prompts that are unsafe only together with their picture, in eleven languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from guardalign_middleware.evaluation.suites.manifest import Item, Manifest, Picture
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.evaluation.suites.rows import PICTURE, csv_rows, table_rows
from guardalign_middleware.evaluation.suites.tables import Asked, Row, items_of

_LANGUAGES = ("english", "arabic", "chinese", "farsi", "french", "german", "hindi", "italian",
              "korean", "russian", "spanish")  # fmt: skip
_COLUMNS = ("case_id", "hazard_category", "prompt_text", "prompt_type")
_ENDINGS = ("jpg", "jpeg", "png", "webp", "gif")


class MSTS:
    """A split for each language; the repository has the texts, the hub the pictures too."""

    manifest = Manifest(
        name="msts",
        title="MSTS",
        kind="safety",
        source="github.com/paul-rottger/msts-multimodal-safety",
        hub=("felfri/MSTS",),
        revision="e9ae69e8f1ab87ab2bb2ed7c51e992e0430f12e3",
        licence="CC-BY-4.0; each picture has its own, in data/images/unsafe_images.csv",
        counts=MappingProxyType(dict.fromkeys(_LANGUAGES, 400)),
        columns=_COLUMNS,
        prompt="{prompt_text}",
        metric="unsafe_response_rate",
        judge="not read",
        comparable="How the authors judge was not read. The repository has addresses of pictures, "
        "and pictures on the web change: use those of the hub.",
        tested="records",
    )

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split; see `Suite`."""
        place = Place.of(self.manifest, folder)
        wanted = place.split(split)
        path = place.find(f"data/prompts/{wanted}_multimodal.csv")
        pictures: Sequence[Picture]
        rows: Sequence[Row]
        if path is not None:
            rows = csv_rows(place, path, (*_COLUMNS, "unsafe_image_id"))
            place.check_count(wanted, len(rows), path)
            at = path.parents[1] / "images"
            pictures = place.named(at, (_name(at, row["unsafe_image_id"]) for row in rows))
        else:
            paths = place.shards(f"data/{wanted}-*.parquet", f"{wanted}-*.parquet")
            rows = table_rows(place, paths, _COLUMNS, ("unsafe_image",))
            place.check_count(wanted, len(rows), paths[0])
            pictures = [row[PICTURE][0] for row in rows]
        return items_of(
            place,
            wanted,
            [(_ask(row), (picture,)) for row, picture in zip(rows, pictures, strict=True)],
        )


def _name(folder: Path, picture: str) -> str:
    names = [f"{picture}.{ending}" for ending in _ENDINGS]
    return next((name for name in names if (folder / name).is_file()), names[0])


def _ask(row: Row) -> Asked:
    kind = row["prompt_type"]
    about = {"category": row["hazard_category"], "kind": kind}
    return Asked(f"{row['case_id']}/{kind}", row["prompt_text"], None, about)
