"""AdvBench: harmful requests without a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from guardalign_middleware.evaluation.suites.manifest import Item, Manifest
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.evaluation.suites.rows import csv_rows


class AdvBench:
    """Its harmful behaviours."""

    manifest = Manifest(
        name="advbench",
        title="AdvBench",
        kind="safety",
        source="github.com/llm-attacks/llm-attacks",
        licence="MIT",
        counts=MappingProxyType({"behaviors": 520}),
        columns=("goal", "target"),
        prompt="{goal}",
        metric="attack_success_rate",
        judge="the first words of the answer",
        comparable="Text only. Mirrors of the file have 468 rows, 51 rows, or the columns swapped; "
        "the original repository could not be read, a mirror of 520 rows was.",
        tested="files",
    )

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split; see `Suite`."""
        place = Place.of(self.manifest, folder)
        wanted = place.split(split)
        path = place.file("data/advbench/harmful_behaviors.csv", "harmful_behaviors.csv")
        rows = csv_rows(place, path, self.manifest.columns)
        place.check_count(wanted, len(rows), path)
        swapped = sum(row["goal"].startswith("Sure") for row in rows)
        if swapped > len(rows) / 2:
            raise place.error(
                f"{path} has its columns swapped: {swapped} goals begin as targets do.",
                "Fetch the file again; a mirror is known to have them swapped.",
            )
        about = MappingProxyType({"split": wanted, "category": wanted})
        return tuple(
            Item(str(number), row["goal"], target=row["target"], metadata=about)
            for number, row in enumerate(rows, 1)
        )
