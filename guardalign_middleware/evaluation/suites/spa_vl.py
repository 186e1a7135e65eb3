"""SPA-VL's test set: harmful questions about pictures, and harmless ones that need help."""

from __future__ import annotations

from types import MappingProxyType

from guardalign_middleware.evaluation.suites.manifest import Manifest
from guardalign_middleware.evaluation.suites.tables import Asked, Row, TableSuite

_CLASSES = ("class1", "class2", "class3")


def _ask(row: Row, number: int) -> Asked:
    about = {"category": row["class1"], **{name: row[name] for name in _CLASSES}}
    return Asked(str(number), row["question"], metadata=about)


SPA_VL = TableSuite(
    Manifest(
        name="spa-vl",
        title="SPA-VL",
        kind="safety",
        source="huggingface.co/datasets/sqrti/SPA-VL",
        hub=("sqrti/SPA-VL",),
        revision="fdb823ae",
        licence="CC-BY-4.0",
        counts=MappingProxyType({"harm": 265, "help": 265}),
        columns=("image", "question", *_CLASSES),
        prompt="{question}",
        metric="unsafe_response_rate",
        judge="MD-Judge for the rate; GPT in pairs for help",
        comparable="The judge of the split help compares two answers and gives no rate. Ids are "
        "row numbers: the data set has none.",
        paper="SPA-VL",
        max_new_tokens=1024,
    ),
    {
        split: (f"test/{split}-*.parquet", f"data/{split}-*.parquet", f"{split}-*.parquet")
        for split in ("harm", "help")
    },
    _ask,
    labels={"harm": "unsafe", "help": "safe"},
)
