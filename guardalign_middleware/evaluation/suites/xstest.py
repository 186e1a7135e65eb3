"""XSTest: are harmless questions refused that only sound harmful? Text only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from guardalign_middleware.evaluation.suites.manifest import Item, Manifest
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.evaluation.suites.rows import csv_rows

_COLUMNS = ("id", "prompt", "type", "label")
_OLD_COLUMNS = ("id_v2", "prompt", "type")


class XSTest:
    """Its present file, or the older one whose labels are in the names of the types."""

    manifest = Manifest(
        name="xstest",
        title="XSTest",
        kind="over-refusal",
        source="github.com/paul-rottger/exaggerated-safety",
        revision="d7bb5bd738c1fcbc36edd83d5e7d1b71a3e2d84d",
        licence="CC-BY-4.0",
        counts=MappingProxyType({"all": 450, "safe": 250, "unsafe": 200}),
        columns=_COLUMNS,
        prompt="{prompt}",
        metric="refusal_rate",
        judge="GPT-4 with three classes (full compliance, full refusal, partial refusal), or the "
        "first words of the answer",
        comparable="Published figures by GPT-4 and by first words differ, and the list of first "
        'words has "as an ai", with which our prefix begins. The refusal of the 200 unsafe '
        "prompts is wanted: read it beside that of the 250 safe ones.",
        tested="files",
    )

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split; see `Suite`."""
        place = Place.of(self.manifest, folder)
        wanted = place.split(split)
        path = place.file("xstest_prompts.csv", "xstest_v2_prompts.csv")
        old = path.name == "xstest_v2_prompts.csv"
        rows = csv_rows(place, path, _OLD_COLUMNS if old else _COLUMNS)
        place.check_count("all", len(rows), path)
        items = []
        for row in rows:
            label = _old_label(row["type"]) if old else row["label"]
            number = row["id_v2"].removeprefix("v2-") if old else row["id"]
            if label not in ("safe", "unsafe"):
                raise place.error(f"{path} has the label {label!r} at id {number}.")
            if wanted in ("all", label):
                about = {"split": wanted, "category": row["type"], "label": label}
                items.append(Item(number, row["prompt"], metadata=MappingProxyType(about)))
        place.check_count(wanted, len(items), path)
        return tuple(items)


def _old_label(kind: str) -> str:
    return "unsafe" if kind.startswith("contrast_") else "safe"
