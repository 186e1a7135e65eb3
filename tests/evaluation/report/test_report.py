"""The page about an experiment: its figures, what it shows and hides, and how it opens."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from guardalign_middleware.cli.report import run_report
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.choices import choose_items
from guardalign_middleware.evaluation.experiment import Experiment
from guardalign_middleware.evaluation.judges import BLOCKED, Judgement
from guardalign_middleware.evaluation.report import report_of, to_html, to_markdown
from guardalign_middleware.evaluation.report.blocks import Pictures, Report, Section, Table
from guardalign_middleware.evaluation.report.compared import compared, differences, paper
from guardalign_middleware.evaluation.report.numbers import distances_of, flagged, roc, unsafe_at
from guardalign_middleware.evaluation.suites import SUITES
from tests.docs.pages import blocks_of
from tests.support.experiments import KNIFE, SECRET, made_up

JUDGE = "mini-templates-1"
THEIR_MODEL = "OpenSafetyLab/MD-Judge-v0_2-internlm2_7b"
THEIR_JUDGE = f"{THEIR_MODEL} at 127.0.0.1: MD-Judge v0.2 form, prompt 0123456789ab"


@pytest.fixture(scope="module", autouse=True)
def _drawn_once() -> Iterator[None]:
    """The scenes of the suite take longer to draw than a page to make."""
    with pytest.MonkeyPatch.context() as patch:
        at = "guardalign_middleware.evaluation.experiment.reading.choose_items"
        patch.setattr(at, cache(choose_items))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up(tmp_path_factory.mktemp("made") / "run").path


@pytest.fixture(scope="module")
def made(folder: Path) -> Experiment:
    return Experiment.read(folder)


@pytest.fixture(scope="module")
def report(made: Experiment) -> Report:
    return report_of(made)


def section(report: Report, title: str) -> Section:
    return next(one for one in report.sections if one.title == title)


def table(part: object) -> Table:
    assert isinstance(part, Table)
    return part


def test_every_arm_has_its_figures_in_the_order_of_arms(report: Report) -> None:
    figures, harmless = map(table, section(report, "Figures").parts[:2])
    assert [row[0] for row in figures.rows] == [
        "vanilla",
        "prefix",
        "calibration",
        "calibration@2",
        "detection-prefix",
        "full",
    ]
    # Of eight numbers, 1 to 5 comply, and what 7 says cannot be read.
    vanilla = dict(zip(figures.head, figures.rows[0], strict=True))
    assert (vanilla["harmful items"], vanilla["unparsed"]) == ("16", "2")
    assert vanilla["unsafe (USR)"].startswith(f"{12 / 16:.3f} (")
    assert vanilla["of the parsed"].startswith(f"{10 / 14:.3f} (")
    row = dict(zip(harmless.head, harmless.rows[0], strict=True))
    assert (row["harmless items"], row["calls"], row["seconds"]) == ("22", "1.00", "0.10")
    assert row["right"].startswith("1.000 (")
    assert [one.title for one in report.sections] == [
        "Figures",
        "By category",
        "Against vanilla",
        "Beside the paper",
        "Distances",
        "Against the threshold τ",
        "Against γ",
        "Attention to the prefix",
        "Cost against safety",
        "Configuration",
        "Masked pictures",
    ]


def test_arms_are_compared_item_by_item(report: Report) -> None:
    paired = table(section(report, "Against vanilla").parts[0])
    last = next(row for row in paired.rows if row[0] == "full" and row[1] == "unsafe")
    # Of 16, vanilla alone is unsafe on ten; what cannot be read is so in both.
    assert (last[2], last[4]) == ("16", "10 / 0")
    assert last[3].startswith("-0.625 (")
    assert float(last[5]) == pytest.approx(2 * 0.5**10, rel=0.05)
    assert len(paired.rows) == 10


def test_no_answer_and_no_path_is_in_the_page(report: Report, folder: Path) -> None:
    for text in (to_html(report), to_markdown(report)):
        assert SECRET not in text
        assert KNIFE not in text
        assert str(folder) not in text
        assert "site-packages" not in text
        assert "mini/clip" not in text
        assert "<script" not in text
        assert "http" not in re.sub(r'http-equiv|"http://www.w3.org[^"]*"', "", text)


def test_what_was_found_is_covered_in_the_pictures(report: Report) -> None:
    shown = section(report, "Masked pictures").parts[1]
    assert isinstance(shown, Pictures)
    assert len(shown.shown) == 8
    url, words = shown.shown[0]
    assert words.startswith("harmful-0: weapon; vanilla ")
    data = base64.b64decode(url.removeprefix("data:image/webp;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    scale = pixels.shape[0] / 256
    inside = pixels[int(50 * scale) : int(110 * scale), int(50 * scale) : int(110 * scale)]
    assert np.abs(inside - 96).max() < 12


def test_the_numbers_of_the_plots(made: Experiment) -> None:
    found = distances_of(made)
    assert len(found.harmful) == 8
    assert len(found.harmless) == 14
    assert max(found.harmful) < 1 < min(found.harmless)
    assert flagged(found.harmful, (0.0, found.harmful[0], 1.0)) == (0.0, 1 / 8, 1.0)
    alarms, hits = roc(found)
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert hits[8] == 1.0
    assert alarms[8] == 0.0
    # At the threshold in use these are the answers of the arm full; far below, of calibration.
    least, at = unsafe_at(made, JUDGE, found, (1e-9, 1.0))
    assert (least.value, at.value) == (4 / 8, 1 / 8)


def rescanned(folder: Path, copy: Path, **changes: Any) -> Experiment:
    """The run with other scans of its harmful items; `...` takes a field away."""
    shutil.copytree(folder, copy)
    path = copy / "scans.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for image in line["images"] if line["id"].startswith("harmful") else ():
            changed = image | changes
            image.clear()
            image.update((name, value) for name, value in changed.items() if value is not ...)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return Experiment.read(copy)


def test_a_scan_counts_by_its_smallest_ratio(tmp_path: Path, folder: Path) -> None:
    # The verdict's own patch is the one with the smallest difference: 0.9 of its threshold here.
    made = rescanned(folder, tmp_path / "a", distance=0.45, threshold=0.5, ratio=0.25)
    found = distances_of(made)
    assert set(found.harmful) == {0.25}
    # At half the threshold the pictures would still be masked.
    (half,) = unsafe_at(made, JUDGE, found, (0.5,))
    assert half.value == 1 / 8


def test_what_was_decided_counts_at_the_threshold_in_use(tmp_path: Path, folder: Path) -> None:
    words = {"box": [0, 0, 9, 9], "category": "recipe", "distance": 0.1, "kind": "words"}
    by_words = rescanned(folder, tmp_path / "words", ratio=3.0, regions=[words])
    # Masked for its words, a picture stays masked at every threshold of distances.
    shares = unsafe_at(by_words, JUDGE, distances_of(by_words), (1e-9, 1.0))
    assert [one.value for one in shares] == [1 / 8, 1 / 8]
    # Words that are only reported keep no picture masked.
    reported = rescanned(folder, tmp_path / "told", ratio=0.5, regions=[words | {"action": "flag"}])
    shares = unsafe_at(reported, JUDGE, distances_of(reported), (1e-9, 1.0))
    assert [one.value for one in shares] == [4 / 8, 1 / 8]
    # What is only reported is let pass, however near it is.
    passed = rescanned(folder, tmp_path / "passed", decision="allow", ratio=0.1)
    shares = unsafe_at(passed, JUDGE, distances_of(passed), (0.5, 1.0))
    assert [one.value for one in shares] == [4 / 8, 4 / 8]


def test_scans_of_earlier_versions_are_left_out_and_the_page_says_so(
    tmp_path: Path, folder: Path
) -> None:
    made = rescanned(folder, tmp_path / "run", ratio=...)
    found = distances_of(made)
    assert (found.harmful, found.unknown, len(found.harmless)) == ((), 8, 14)
    page = report_of(made)
    assert str(section(page, "Distances").parts[0]).startswith("8 scans of this run lack")
    assert "Against the threshold τ" not in [one.title for one in page.sections]


def test_a_scan_without_a_threshold_has_no_ratio_and_no_line(tmp_path: Path, folder: Path) -> None:
    observed = rescanned(
        folder, tmp_path / "run", decision="observe", threshold=None, ratio=None, regions=[]
    )
    assert distances_of(observed).harmful == ()
    assert report_of(observed).sections


def test_an_arm_that_a_judge_has_not_judged_has_no_line(tmp_path: Path, folder: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    (copy / "judgements" / JUDGE / "calibration.jsonl").unlink()
    made = Experiment.read(copy)
    assert unsafe_at(made, JUDGE, distances_of(made), (1.0,)) == ()
    told = section(report_of(made), "Against the threshold τ").parts[0]
    assert "USR" not in told.caption  # type: ignore[union-attr]


def test_an_arm_whose_pictures_are_all_blocked_is_right_in_none(made: Experiment) -> None:
    blocked = {key: Judgement("refusal", BLOCKED, "blocked") for key in made.answers["full"]}
    judged = {"other": {**made.judged[JUDGE], "full": blocked}, JUDGE: {"full": blocked}}
    for judge, arms in (("other", made.arms), (JUDGE, ("full",))):
        answers = {arm: made.answers[arm] for arm in arms}
        rows = replace(made, answers=answers, judged=judged).rows(judge)
        row = next(one for one in rows if (one.arm, one.wanted) == ("full", "answer"))
        assert row.right is not None
        assert row.right.value == 0.0


def test_a_name_of_a_place_in_a_value_stays_a_value() -> None:
    odd = "__SECTIONS__ | <b>*x*"
    one = Report(odd, "now", (Section("A b", (odd, Table(("h",), ((odd,),)))),))
    page = to_html(one)
    assert page.count("__SECTIONS__ | &lt;b&gt;*x*") == 4
    assert page.count("<section") == 1
    assert r"\| \<b\>\*x\*" in to_markdown(one)


def stub(suite: str, *, items: int | None = None, **about: Any) -> Any:
    """An experiment of which only what a comparison reads is there."""
    manifest = SUITES[suite].manifest
    count = manifest.counts[manifest.split]
    chosen = SimpleNamespace(
        manifest=manifest,
        split=manifest.split,
        items=range(items or count),
        whole=items is None,
    )
    told = {"preset": "llava-1.5-7b", "model": "llava", "generation": {"max_new_tokens": 1024}}
    whole = dict.fromkeys(map(str, chosen.items), "said")
    return SimpleNamespace(
        chosen=chosen,
        answers={"vanilla": whole, "prefix": {}},
        judged=defaultdict(lambda: {"vanilla": whole, "prefix": {}}),
        folder=SimpleNamespace(about={**told, **about}, identity={"options": {}}),
        judge_name=lambda judge: judge,
    )


def test_a_figure_is_comparable_only_with_suite_model_judge_and_length() -> None:
    assert differences(stub("figstep"), THEIR_JUDGE, "FigStep") == []
    other = stub("figstep", items=3, preset="mini", generation={"max_new_tokens": 48})
    why = "; ".join(differences(other, "keywords 1", "FigStep"))
    for part in ("3 of 500", "no model of the preset mini", "keywords 1", "48 tokens"):
        assert part in why
    assert "test2015" in differences(stub("vqav2"), "", "VQAv2")[-1]


@pytest.mark.parametrize(
    ("judge", "named"),
    [
        ("gpt-4o-mini at api.openai.com: MD-Judge v0.2 form, prompt 0123456789ab", "gpt-4o-mini"),
        ("MD-Judge at 127.0.0.1: MD-Judge v0.2 form, prompt 0123456789ab", "instead of MD-Judge-v"),
        (f"{THEIR_MODEL} at 127.0.0.1: MD-Judge v0.2 form", "words of its authors"),
        (f"{THEIR_MODEL} at 127.0.0.1: harm, prompt 0123456789ab", "words of its authors"),
        (THEIR_MODEL, "words of its authors"),
    ],
)
def test_only_the_papers_judge_in_its_own_words_is_comparable(judge: str, named: str) -> None:
    (why,) = differences(stub("figstep"), judge, "FigStep")
    assert named in why


def test_an_unfinished_run_is_not_comparable() -> None:
    made = stub("figstep")
    del made.answers["vanilla"]["7"]
    (why,) = differences(made, THEIR_JUDGE, "FigStep")
    assert why == "499 of 500 items answered by the arm vanilla and judged"
    # The scores of utility are of arms that answered all of it.
    made = stub("scienceqa-img")
    del made.answers["vanilla"]["7"]
    assert differences(made, "keywords 1", "SQA-I") == []


def test_the_paper_stands_beside_the_run(made: Experiment) -> None:
    rows = made.rows(JUDGE)
    parts = compared(stub("figstep"), THEIR_JUDGE, rows).parts
    beside = table(parts[0])
    assert beside.head[1:5] == ("vanilla", "ECSO", "ETA", "GuardAlign")
    assert beside.rows[0] == ("paper, LLaVA-1.5-7B", "58.60", "37.40", "7.80", "3.40", "0.06")
    assert beside.rows[1][0] == "this run, llava"
    assert beside.rows[1][1].startswith("75.00 (")
    assert beside.rows[1][2] == ""
    assert beside.rows[1][5] == f"{2 / 12:.2f}"
    assert str(parts[1]).startswith("The same suite, model and judge as in the paper, if")
    assert "prompt 0123456789ab" in str(parts[1])
    other = compared(stub("figstep", preset="mini"), "keywords 1", rows).parts
    assert len(table(other[0]).rows) == 8
    assert table(other[0]).rows[-1][0].endswith("(other protocol)")


def test_the_papers_tables_are_whole_and_the_suites_name_their_columns() -> None:
    columns = []
    for kind in ("safety", "utility"):
        told = paper()[kind]
        columns += told["columns"]
        for values in told["models"].values():
            assert [len(row) for row in values] == [len(told["arms"])] * len(told["columns"])
    assert set(paper()["presets"].values()) <= set(paper()["safety"]["models"])
    # Spot checks against the paper: first and last cell of table 1, and one of table 2.
    safety, utility = paper()["safety"]["models"], paper()["utility"]["models"]
    assert safety["LLaVA-1.5-7B"][0] == [46.04, 23.4, 16.98, 10.31]
    assert safety["Llama-3.2-11B-V"][4] == [15.0, 13.5, 7.5, 3.5]
    assert utility["LLaVA-1.5-13B"][5] == [79.99, 79.89, 79.99, 80.25]
    named = [one for suite in SUITES.values() for one in suite.manifest.paper.split(" / ") if one]
    assert sorted(named) == sorted(columns)


def test_what_cannot_be_reported_is_said(tmp_path: Path, folder: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with pytest.raises(ConfigError, match="Judges are: mini-templates-1"):
        report_of(Experiment.read(copy), "other")
    with pytest.raises(ConfigError, match=r"FILE\.html"):
        run_report(copy, tmp_path / "page.txt", data=None, judge=None)
    answers = copy / "answers" / "full.jsonl"
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:3]))
    parts = section(report_of(Experiment.read(copy)), "Figures").parts
    assert "The arm full has 3 of 38 answers" in str(parts[0])
    shutil.rmtree(copy / "judgements")
    with pytest.raises(ConfigError, match="was judged"):
        report_of(Experiment.read(copy))
    told = json.loads((copy / "run.json").read_text())
    told["identity"]["items_sha256"] = "0" * 64
    (copy / "run.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match="--data"):
        Experiment.read(copy)


def test_two_judges_stand_side_by_side(tmp_path: Path, folder: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shutil.copytree(copy / "judgements" / JUDGE, copy / "judgements" / "second")
    beside = table(section(report_of(Experiment.read(copy)), "Judges side by side").parts[1])
    assert [row[1] for row in beside.rows] == ["unsafe", "over-refusal"] * 2


def test_the_page_runs_as_written(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (block,) = (one for one in blocks_of("docs/evaluate.md") if one.language == "python")
    shutil.copytree(folder, tmp_path / "runs" / "mini")
    monkeypatch.chdir(tmp_path)
    exec(compile(block.code, "evaluate.md", "exec"), {})
    assert capsys.readouterr().out.startswith("# Miniature world: made up")


@pytest.mark.evidence
@pytest.mark.enable_socket
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_shows_the_page(tmp_path: Path, folder: Path) -> None:
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    target = tmp_path / "report.html"
    assert run_report(folder, target, data=None, judge=None) == 0
    assert target.with_suffix(".md").read_text().startswith("# Miniature world")
    with sync_playwright() as tool:
        browser = tool.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        errors: list[object] = []
        requests: list[str] = []
        page.on("pageerror", lambda error: errors.append(error))
        page.on("console", lambda line: errors.append(line.text))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(target.as_uri())
        assert page.locator("section").count() == 11
        assert page.locator("svg").count() == 5
        loaded = "[...document.images].every((one) => one.complete && one.naturalWidth > 0)"
        assert page.evaluate(loaded)
        page.locator("nav a", has_text="Configuration").click()
        assert page.url.endswith("#configuration")
        for width in (380, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert errors == []
        assert all(url.startswith(("file:", "data:")) for url in requests)
        browser.close()
