"""`guardalign eval` with a chain that needs no model: its order, and what it scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.cli import eval as command
from guardalign_middleware.cli.eval import EvalOptions, run_eval
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.evaluation.choices import Chosen
from guardalign_middleware.evaluation.experiment import RunFolder
from guardalign_middleware.evaluation.suites import Item, suite
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.testing import picture, png, red_chain, red_config

QUESTION = {"category": "count", "question_id": "p1"}
ITEM = Item("0", "Is it one?", (png(picture()),), "Yes", QUESTION)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvalOptions:
    manifest = suite("mme").manifest
    chosen = Chosen(manifest, manifest.split, (ITEM,), 1)
    monkeypatch.setattr(command, "choose_items", lambda *_: chosen)
    monkeypatch.setattr(GuardAlignConfig, "load", lambda _: red_config())
    monkeypatch.setattr(GuardAlign, "from_config", lambda config: red_chain(config))
    return EvalOptions(
        suite="mme",
        arms="vanilla,full",
        target=tmp_path / "run",
        data=None,
        split=None,
        limit=1,
        judge=None,
        max_new_tokens=None,
        eta_threshold=None,
        as_json=True,
        preset="red",
    )


def test_a_cut_through_a_pair_of_questions_has_figures_and_no_score(
    options: EvalOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_eval(options) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["arm"], row["answered"]) for row in told["rows"]] == [("vanilla", 1), ("full", 1)]
    assert (told["utility"], told["whole"]) == ([], False)


def test_attention_is_measured_when_answers_are_judged(
    options: EvalOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Any] = []

    def measured(*_: Any) -> None:
        folder = RunFolder.read(options.target)
        judged.extend(folder.judgements(folder.judges[0], "full"))

    monkeypatch.setattr(command, "attention_to_prefix", measured)
    assert run_eval(options) == 0
    assert judged == ["0"]
