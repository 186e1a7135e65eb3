"""The leak table adds up, and our middleware lets nothing through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.langchain import leaks
from benchmarks.langchain.leaks import (
    OURS,
    POSITIONS,
    RESULT,
    Outcomes,
    Run,
    measure,
    restored,
    run,
    tables,
    with_earlier_nemo,
)
from benchmarks.langchain.other_guards import NEMO, moderation, nothing, pii
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
def outcomes() -> Outcomes:
    """Every position, with some of the dialects, before a guard that finds red things."""
    return measure(red_guard(), RAW, names=SOME)


def test_ours_lets_no_raw_image_through(outcomes: Outcomes) -> None:
    runs = [each for row in outcomes[OURS].values() for each in row.values()]
    found = [each.model for each in runs]
    assert len(found) == len(POSITIONS) * len(SOME)
    assert "raw" not in found
    assert "ended" not in found
    # Where LangChain turned the picture into words, there is none left, guarded or not.
    assert found.count("removed") <= 7
    assert not any(each.state for each in runs)


def test_without_a_guard_they_all_get_through(outcomes: Outcomes) -> None:
    lost = [
        (position, name)
        for position, row in outcomes["no guard"].items()
        for name, each in row.items()
        if each.model != "raw"
    ]
    assert {name for _, name in lost} <= {"bedrock"}
    assert all(outcomes[OURS][position][name].model == "removed" for position, name in lost)


def test_what_ours_shows_is_the_masked_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[RecordingModel] = []

    def remembered(**fields: Any) -> RecordingModel:
        models.append(RecordingModel(**fields))
        return models[-1]

    monkeypatch.setattr(leaks, "RecordingModel", remembered)
    ours = GuardAlignMiddleware(guard=red_guard())
    build = POSITIONS["a tool returns it"]
    assert run(build, BLOCKS["v1 base64"], lambda _: [ours], RAW).model == "cleaned"
    (found,) = find_images(models[0].seen[-1])
    assert covered(red_guard().load(f"data:image/png;base64,{found.part['base64']}"))


def test_the_other_guards_work_in_the_places_they_cover() -> None:
    text = BLOCKS["text with a data url"]
    for arm in (pii, moderation):
        for position in ("user message", "a tool returns a dictionary with it"):
            assert run(POSITIONS[position], text, arm, RAW).model != "raw"
    assert run(POSITIONS["user message"], text, nothing, RAW).model == "raw"


def test_raw_is_found_as_base64_and_as_bytes() -> None:
    for name, block in BLOCKS.items():
        assert holds_raw([block], RAW), name
    assert not holds_raw(blocks_of(png(picture()), "image/png"), RAW)


def test_the_tables_add_up(outcomes: Outcomes) -> None:
    made = tables(outcomes, {"langchain": "1"})
    by_position, state = made["langchain_leaks"], made["langchain_leaks_state"]
    assert by_position["head"][1:] == state["head"][1:] == list(outcomes)
    for column, arm in enumerate(by_position["head"][1:], start=1):
        runs = [each for row in outcomes[arm].values() for each in row.values()]
        for shown, raw in (
            (by_position, sum(each.model == "raw" for each in runs)),
            (state, sum(each.state for each in runs)),
        ):
            cells = [int(row[column].strip("*")) for row in shown["rows"]]
            assert sum(cells[:-1]) == cells[-1] == raw
        by_dialect = made["langchain_leaks_by_dialect"]["rows"]
        assert sum(int(row[column].strip("*")) for row in by_dialect) == sum(
            each.model == "raw" for each in runs
        )
    assert "NeMo Guardrails was not run" in by_position["told"] or len(outcomes) == 5


def test_an_earlier_run_of_nemo_is_kept_and_named(tmp_path: Path) -> None:
    position, other = list(POSITIONS)[:2]
    clean = {position: {"mcp": Run("cleaned", False)}, other: {"mcp": Run("cleaned", False)}}
    stored = {"outcomes": {NEMO: {position: {"mcp": "raw"}}}, "versions": {"nemoguardrails": "1"}}
    (tmp_path / "earlier.json").write_text(json.dumps(stored))
    outcomes, packages = {OURS: clean}, {"nemoguardrails": "not installed"}
    with_earlier_nemo(outcomes, packages, tmp_path / "earlier.json")
    assert packages == {"nemoguardrails": "1"}
    made = tables(outcomes, packages)["langchain_leaks"]
    assert made["rows"] == [
        [position, "1", "**0**"],
        [other, "–", "**0**"],
        ["all", "1 of 1", "**0**"],
    ]
    assert "from an earlier run" in made["told"]


def test_the_published_table_is_that_of_the_published_outcomes() -> None:
    data = json.loads(RESULT.read_text(encoding="utf-8"))
    outcomes = restored(data)
    assert data["tables"] == tables(outcomes, data["versions"])
    assert data["tables"]["langchain_leaks"]["rows"][-1][-1] == "**0**"
    assert data["tables"]["langchain_leaks_state"]["rows"][-1][-1] == "**0**"
    assert set(outcomes[OURS]) == set(POSITIONS)
    assert all(set(row) == set(BLOCKS) for row in outcomes[OURS].values())
