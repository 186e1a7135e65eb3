"""The leak table of LlamaIndex adds up, and the guard lets nothing through."""

from __future__ import annotations

import json

import pytest

from benchmarks.llama_index.leaks import NO_GUARD, OURS, RESULT, Outcomes, measure, run, tables
from benchmarks.llama_index.positions import POSITIONS
from guardalign_middleware.testing import picture, png, red_guard
from llama_index.llms.guardalign import GuardAlignGuardedLLM

RAW = png(picture(red=True))


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """Every position before a guard that finds red things."""
    return measure(red_guard(), RAW)


def test_ours_lets_no_raw_image_through(outcomes: Outcomes) -> None:
    for position, row in outcomes[OURS].items():
        refused = [name for name, how in row.items() if how == "refused"]
        assert "raw" not in row.values(), position
        # An address beside a picture could be what a provider shows.
        assert set(refused) <= {"mcp resource"}, position


def test_without_a_guard_they_all_get_through(outcomes: Outcomes) -> None:
    for position, row in outcomes[NO_GUARD].items():
        assert set(row.values()) == {"raw"}, position


def test_a_guard_that_did_nothing_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    (case, *_) = POSITIONS["user message"](RAW).values()
    monkeypatch.setattr(
        GuardAlignGuardedLLM, "chat", lambda self, messages: self.llm.chat(messages)
    )
    assert run(case, red_guard(), RAW) == "raw"


def test_the_table_adds_up(outcomes: Outcomes) -> None:
    made = tables(outcomes, {"llama-index-core": "1"})["llama_index_leaks"]
    *rows, total = [[int(cell.strip("*")) for cell in row[1:]] for row in made["rows"]]
    assert [sum(column) for column in zip(*rows, strict=True)] == total
    assert total[0] == total[1] > total[2] == 0


def test_the_published_table_is_that_of_the_published_outcomes() -> None:
    data = json.loads(RESULT.read_text(encoding="utf-8"))
    assert data["tables"] == tables(data["outcomes"], data["versions"])
    assert data["tables"]["llama_index_leaks"]["rows"][-1][-1] == "**0**"
    assert set(data["outcomes"][OURS]) == set(POSITIONS)
