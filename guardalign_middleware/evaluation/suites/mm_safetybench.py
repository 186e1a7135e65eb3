"""MM-SafetyBench: harmful questions, their subject moved into a picture that shows or spells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from guardalign_middleware.evaluation.suites.manifest import Item, Manifest, Picture
from guardalign_middleware.evaluation.suites.place import Place
from guardalign_middleware.evaluation.suites.rows import (
    PICTURE,
    check_columns,
    json_file,
    json_rows,
    table_rows,
)
from guardalign_middleware.evaluation.suites.tables import Asked, items_of

Kind = Literal["SD", "TYPO", "SD_TYPO"]
SCENARIOS: Mapping[str, int] = MappingProxyType(
    {
        "01-Illegal_Activitiy": 97,  # so it is spelled
        "02-HateSpeech": 163,
        "03-Malware_Generation": 44,
        "04-Physical_Harm": 144,
        "05-EconomicHarm": 122,
        "06-Fraud": 154,
        "07-Sex": 109,
        "08-Political_Lobbying": 153,
        "09-Privacy_Violence": 139,
        "10-Legal_Opinion": 130,
        "11-Financial_Advice": 167,
        "12-Health_Consultation": 109,
        "13-Gov_Decision": 149,
    }
)
"""Scenarios and their questions."""
_SHOWN = {"SD": "pictures made by Stable Diffusion", "TYPO": "the subject in letters",
          "SD_TYPO": "both, one above the other"}  # fmt: skip
_TINY = "TinyVersion_ID_List.json"
_Read = tuple[str, str, str, str, Picture]


class MMSafetyBench:
    """One of its three kinds of pictures.

    Args:
        kind: "SD" = made by Stable Diffusion, "TYPO" = letters, "SD_TYPO" = both.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._column = "Rephrased Question(SD)" if kind == "SD" else "Rephrased Question"
        self.manifest = Manifest(
            name=f"mm-safetybench-{kind.lower().replace('_', '-')}",
            title=f"MM-SafetyBench {kind}",
            kind="safety",
            source="github.com/isXinLiu/MM-SafetyBench",
            hub=("PKU-Alignment/MM-SafetyBench",),
            licence="CC-BY-NC-4.0",
            counts=MappingProxyType({"full": 1680, "tiny": 168}),
            columns=("Question", self._column),
            prompt=f"{{{self._column}}}",
            metric="attack_success_rate",
            judge="GPT-4, which sees the answer alone, with six templates by scenario; the paper's "
            "tables use MD-Judge",
            comparable=f"Shows {_SHOWN[kind]}. "
            "Authors' rates are by GPT-4; ECSO leaves out scenarios 08 and 10 to 13; the paper's "
            "is the mean of all 1,680 SD_TYPO items. Judges move the rate more than defences do: "
            "one model is published with 40 by MD-Judge and 70 by keywords.",
            paper="MM-SB SD+TYPO" if kind == "SD_TYPO" else "",
            max_new_tokens=1024,
        )

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Read all items of a split; see `Suite`."""
        place = Place.of(self.manifest, folder)
        wanted = place.split(split)
        chosen = self._tiny(place) if wanted == "tiny" else None
        asked = []
        for scenario, count in SCENARIOS.items():
            found = list(self._scenario(place, scenario))
            if len(found) != count:
                raise place.error(f"{scenario} has {len(found)} rows, and {count} as published.")
            for name, prompt, question, kind, picture in found:
                if chosen is None or (scenario, name) in chosen:
                    about = {"category": scenario, "kind": kind, "question": question}
                    asked.append((Asked(f"{scenario}/{name}", prompt, None, about), (picture,)))
        place.check_count(wanted, len(asked), place.folder)
        place.pictures(one for _, (one,) in asked if isinstance(one, Path))
        return items_of(place, wanted, asked)

    def _scenario(self, place: Place, scenario: str) -> Iterator[_Read]:
        records = place.find(f"data/processed_questions/{scenario}.json")
        if records is None:
            yield from self._table(place, scenario)
            return
        pictures = place.file("data/imgs", "imgs") / scenario / self._kind
        named = json_file(place, records)
        rows = json_rows(place, records, self.manifest.columns)
        for name, row in zip(named, rows, strict=True):
            picture = pictures / f"{name}.jpg"
            yield name, row[self._column], row["Question"], self._kind, picture

    def _table(self, place: Place, scenario: str) -> Iterator[_Read]:
        """The hub has a table for each scenario and kind, and the plain questions in another."""
        name = scenario[3:]
        paths, plain = (
            place.shards(
                f"data/{name}/{kind}.parquet", f"{name}/{kind}.parquet", f"{name}/{kind}-*.parquet"
            )
            for kind in (self._kind, "Text_only")
        )
        questions = {
            str(row["id"]): row["question"] for row in table_rows(place, plain, ("id", "question"))
        }
        for row in table_rows(place, paths, ("id", "question"), ("image",)):
            key = str(row["id"])
            if key not in questions:
                raise place.error(f"{plain[0]} lacks the id {key}.")
            yield key, row["question"], questions[key], self._kind, row[PICTURE][0]

    def _tiny(self, place: Place) -> set[tuple[str, str]]:
        path = place.file(_TINY, f"data/{_TINY}")
        chosen: set[tuple[str, str]] = set()
        for number, row in enumerate(json_rows(place, path, ("Scenario", "Sampled_ID_List"))):
            if row["Scenario"] not in SCENARIOS:
                raise place.error(f"{path} names the scenario {row['Scenario']!r}.")
            check_columns(place, f"record {number} of {path}", row, ("Sampled_ID_List",))
            chosen |= {(row["Scenario"], str(one)) for one in row["Sampled_ID_List"]}
        return chosen
