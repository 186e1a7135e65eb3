"""The leak table adds up, and our middleware lets nothing through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.langchain import leaks
from benchmarks.langchain.leaks import OURS, POSITIONS, RESULT, measure, run, tables
from benchmarks.langchain.other_guards import moderation, nothing, pii
from guardalign_middleware.testing import picture, png, red_guard
from guardalign_middleware.testing.dialects import blocks_of
from langchain_guardalign import GuardAlignMiddleware
from langchain_guardalign.message_walk import find_images
from langchain_guardalign.testing import RecordingModel, holds_raw
from langchain_support.agents import covered

RAW = png(picture(red=True))
SOME = ("v1 base64", "bedrock", "text with a data url")
BLOCKS = blocks_of(RAW, "image/png")


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, Any]:
    """Every position, with some of the dialects, before a guard that finds red things."""
    return measure(red_guard(), RAW, names=SOME)


def test_ours_lets_no_raw_image_through(outcomes: Mapping[str, Any]) -> None:
    found = [how for row in outcomes[OURS].values() for how in row.values()]
    assert len(found) == len(POSITIONS) * len(SOME)
    assert "raw" not in found
    assert "ended" not in found
    # Where LangChain turned the picture into words, there is none left, guarded or not.
    assert found.count("removed") <= 3


def test_without_a_guard_they_all_get_through(outcomes: Mapping[str, Any]) -> None:
    lost = [
        (position, name)
        for position, row in outcomes["no guard"].items()
        for name, how in row.items()
        if how != "raw"
    ]
    assert {name for _, name in lost} <= {"bedrock"}
    assert all(outcomes[OURS][position][name] == "removed" for position, name in lost)


def test_what_ours_shows_is_the_masked_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[RecordingModel] = []

    def remembered(**fields: Any) -> RecordingModel:
        models.append(RecordingModel(**fields))
        return models[-1]

    monkeypatch.setattr(leaks, "RecordingModel", remembered)
    ours = GuardAlignMiddleware(guard=red_guard())
    scenario = POSITIONS["a tool returns it"](BLOCKS["v1 base64"])
    assert run(scenario, lambda _: [ours], RAW) == "cleaned"
    (found,) = find_images(models[0].seen[-1])
    assert covered(red_guard().load(f"data:image/png;base64,{found.part['base64']}"))


def test_the_other_guards_work_in_the_places_they_cover() -> None:
    text = BLOCKS["text with a data url"]
    for arm in (pii, moderation):
        assert run(POSITIONS["user message"](text), arm, RAW) != "raw"
        assert run(POSITIONS["a tool returns a dictionary with it"](text), arm, RAW) != "raw"
    assert run(POSITIONS["user message"](text), nothing, RAW) == "raw"


def test_raw_is_found_as_base64_and_as_bytes() -> None:
    for name, block in BLOCKS.items():
        assert holds_raw([block], RAW), name
    assert not holds_raw(blocks_of(png(picture()), "image/png"), RAW)


def test_the_tables_add_up(outcomes: Mapping[str, Any]) -> None:
    made = tables(outcomes, {"langchain": "1"})
    by_position = made["langchain_leaks"]
    assert by_position["head"][1:] == list(outcomes)
    for column, arm in enumerate(by_position["head"][1:], start=1):
        cells = [int(row[column].strip("*")) for row in by_position["rows"]]
        assert sum(cells[:-1]) == cells[-1]
        by_dialect = made["langchain_leaks_by_dialect"]["rows"]
        assert sum(int(row[column].strip("*")) for row in by_dialect) == cells[-1]
        assert cells[-1] == sum(
            how == "raw" for row in outcomes[arm].values() for how in row.values()
        )
    assert "NeMo Guardrails was not run" in by_position["told"] or len(outcomes) == 5


def test_the_published_table_is_that_of_the_published_outcomes() -> None:
    data = json.loads(RESULT.read_text(encoding="utf-8"))
    assert data["tables"] == tables(data["outcomes"], data["versions"])
    assert data["tables"]["langchain_leaks"]["rows"][-1][-1] == "**0**"
    assert set(data["outcomes"][OURS]) == set(POSITIONS)
    assert all(set(row) == set(BLOCKS) for row in data["outcomes"][OURS].values())
