"""The suite of the miniature models: what it asks, how it is judged, and the command on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guardalign_middleware import ConfigError
from guardalign_middleware.cli.eval import EvalOptions, run_eval
from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.choices import choose_items, choose_judge
from guardalign_middleware.evaluation.experiment import RunFolder
from guardalign_middleware.evaluation.mini_suite import MiniJudge, MiniSuite
from guardalign_middleware.evaluation.suites import Item, suite
from guardalign_middleware.mini.questions import COMPLY, NOT_SEEN, REFUSE
from guardalign_middleware.mini.wordings import FAMILIES

KNIFE = COMPLY.format("knife")


def test_every_split_has_what_it_says() -> None:
    mini = MiniSuite(4)
    every = mini.load()
    for split, count in mini.manifest.counts.items():
        assert len(mini.load(None, split)) == count
    assert len({item.id for item in every}) == len(every) == 19
    assert {item.metadata["label"] for item in mini.load(None, "text-harmful")} == {"unsafe"}
    harmless = mini.load(None, "harmless")
    assert tuple(item.metadata["category"] for item in harmless) == FAMILIES
    assert all(item.target and item.images for item in harmless)
    assert MiniSuite(8).load(None, "harmful")[:4] == mini.load(None, "harmful")
    with pytest.raises(SuiteError, match="no split 'none'"):
        mini.load(None, "none")
    with pytest.raises(ConfigError, match="at least 4"):
        MiniSuite(3)


def test_only_template_sentences_count() -> None:
    judge, mini = MiniJudge(), MiniSuite(4)
    harmful, harmless = mini.load(None, "harmful")[0], mini.load(None, "harmless")[0]
    found = [judge.judge(harmful, text) for text in (KNIFE, REFUSE, NOT_SEEN, "the knife")]
    assert [one.label for one in found] == ["unsafe", "refusal", "refusal", "unparsed"]
    assert [one.detail for one in found] == [None, None, "not seen", None]
    assert harmless.target is not None
    answers = (harmless.target, NOT_SEEN, REFUSE)
    found = [judge.judge(harmless, text) for text in answers]
    assert [(one.label, one.detail) for one in found] == [
        ("compliance", "right"),
        ("compliance", "wrong"),
        ("refusal", None),
    ]
    (told, *_) = mini.load(None, "text-harmless")
    assert judge.judge(told, KNIFE).label == "compliance"
    assert judge.judge(told, KNIFE).detail is None


def test_a_suite_has_a_name_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Suites are: mini, spa-vl"):
        choose_items("none", None, None, None)
    with pytest.raises(ConfigError, match="--data"):
        choose_items("xstest", None, None, None)
    for name in ("none", "@http://127.0.0.1/v1", "md-judge:model"):
        with pytest.raises(ConfigError, match="MODEL@URL"):
            choose_judge(MiniSuite().manifest, name)
    chosen = choose_items("mini", None, "harmful", 5)
    assert (len(chosen.items), chosen.split, chosen.whole) == (5, "harmful", True)


def test_a_judge_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    manifest = suite("xstest").manifest
    assert isinstance(choose_judge(MiniSuite().manifest, None), MiniJudge)
    assert "anywhere" in choose_judge(manifest, None).name
    assert "start" in choose_judge(manifest, "keywords-start").name
    named = choose_judge(manifest, "some/model@http://127.0.0.1:1/v1").name
    assert named.startswith("some/model at 127.0.0.1: ")
    assert "MD-Judge" in choose_judge(manifest, "md-judge:m@http://127.0.0.1:1/v1").name
    keywords = choose_judge(manifest, None, "As an AI, I am safe.")
    found = keywords.judge(Item("1", "how?"), "As an AI, I am safe. Take it.")
    assert (found.label, found.with_echo) == ("compliance", "refusal")


@pytest.mark.slow
def test_the_command_goes_on_and_prints_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def options(arms: str, *, as_json: bool = False) -> EvalOptions:
        return EvalOptions(
            suite="mini",
            arms=arms,
            target=tmp_path / "run",
            data=None,
            split="harmful",
            limit=4,
            judge=None,
            max_new_tokens=None,
            eta_threshold=0.9,
            as_json=as_json,
            preset="mini",
        )

    assert run_eval(options("vanilla,eta")) == 0
    first = RunFolder.read(tmp_path / "run").answers("vanilla")
    capsys.readouterr()
    assert run_eval(options("prefix,vanilla,eta", as_json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    folder = RunFolder.read(tmp_path / "run")
    assert folder.answers("vanilla") == first
    assert [row["arm"] for row in told["rows"]] == ["vanilla", "prefix", "eta"]
    assert (told["items"], told["whole"], told["judge"]) == (4, True, MiniJudge.name)
    # Nothing reaches that threshold, so the two arms are one.
    texts = [[one["text"] for one in folder.answers(arm).values()] for arm in ("vanilla", "eta")]
    assert texts[0] == texts[1]
    measured = folder.attention()
    assert measured is not None
    assert len(measured["prefix"]) == len(measured["layers"]) == 6
