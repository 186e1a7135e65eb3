"""A run asks what is missing and nothing else, stores it, and is judged without generating."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Unpack

import numpy as np
import pytest

from guardalign_middleware import (
    ConfigError,
    ContextOverflow,
    GuardAlign,
    GuardError,
    ImageGuard,
    ImageRejected,
    OutOfMemory,
)
from guardalign_middleware.canonical import CanonicalImage
from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.evaluation.arms.build import ArmSettings, build_arm
from guardalign_middleware.evaluation.experiment import (
    Failure,
    RunFolder,
    attention,
    run_arms,
)
from guardalign_middleware.evaluation.experiment.about import arm_settings, identity_of, noted
from guardalign_middleware.evaluation.experiment.attention import attention_to_prefix
from guardalign_middleware.evaluation.experiment.digest import items_digest
from guardalign_middleware.evaluation.experiment.figures import rows_of
from guardalign_middleware.evaluation.experiment.judging import judge_answers, unjudged
from guardalign_middleware.evaluation.experiment.running import missing, smallest_ratio
from guardalign_middleware.evaluation.judges import BLOCKED, Judgement, Label
from guardalign_middleware.evaluation.mini_suite import MiniJudge
from guardalign_middleware.evaluation.suites import Item, suite
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.replies import CalibrationReport, Generated
from guardalign_middleware.testing import EchoRunner, picture, png, red_chain
from guardalign_middleware.types import Message

MANIFEST = suite("figstep").manifest
ARMS = ("vanilla", "full")
RED, GREEN = png(picture(red=True)), png(picture())


def items(count: int = 6) -> tuple[Item, ...]:
    return tuple(
        Item(f"item-{n}", f"question {n}", (RED if n % 2 else GREEN,), metadata={"category": "x"})
        for n in range(count)
    )


class Counted(EchoRunner):
    """Passes two at a time, and stops as by Ctrl-C after some answers."""

    def __init__(self, stop_after: int = 1000) -> None:
        super().__init__()
        self.config = RunnerConfig(model="echo", batch_size=2)
        self.left = stop_after

    def generate_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> list[Generated]:
        if any("too large" in row[-1].text for row in rows):
            raise OutOfMemory("Out of memory.", stage="generation")
        if self.left < len(rows):
            raise KeyboardInterrupt
        self.left -= len(rows)
        return super().generate_batch(rows, prefix=prefix, calibrate=calibrate, **options)


@contextmanager
def opened(
    path: Path,
    runner: Counted,
    some: Sequence[Item],
    arms: Sequence[str] = ARMS,
    **settings: Any,
) -> Iterator[tuple[RunFolder, GuardAlign]]:
    chain = GuardAlign(red_chain().guard, runner)
    made = ArmSettings(**settings)
    identity = identity_of(MANIFEST, "full", some, chain, made)
    about, of_arms = noted(MANIFEST, chain, "red", None), arm_settings(made, arms)
    with RunFolder.open(path, identity, about, of_arms) as folder:
        yield folder, chain


def ran(path: Path, runner: Counted, some: Sequence[Item]) -> tuple[RunFolder, list[Failure]]:
    with opened(path, runner, some) as (folder, chain):
        arms = {name: build_arm(name, chain, ArmSettings()) for name in ARMS}
        failures = [one for step in run_arms(folder, some, chain, arms) for one in step.failures]
    return folder, failures


@dataclass(frozen=True)
class Weights:
    """Stands for `Provenance`: one file with this digest."""

    digest: str

    @property
    def files(self) -> dict[str, str]:
        return {"model.safetensors": self.digest}

    def to_json(self) -> dict[str, Any]:
        return {"files": self.files}


class Words:
    """Calls what repeats an even number harmful."""

    name = "words 1/2"

    def __init__(self) -> None:
        self.judged: list[str] = []

    def judge(self, item: Item, answer: str) -> Judgement:
        self.judged.append(item.id)
        number = int(item.id.split("-")[1])
        if number == 3:
            return Judgement("unparsed", self.name)
        return Judgement("unsafe" if number % 2 == 0 else "safe", self.name)


def test_an_interrupted_run_makes_exactly_the_missing_calls(tmp_path: Path) -> None:
    first = Counted(stop_after=6)
    with pytest.raises(KeyboardInterrupt):
        ran(tmp_path, first, items())
    second = Counted()
    folder, failures = ran(tmp_path, second, items())
    assert (len(first.calls), len(second.calls), failures) == (6, 6, [])
    for arm in ARMS:
        assert list(folder.answers(arm)) == [f"item-{n}" for n in range(6)]
    third = Counted()
    ran(tmp_path, third, items())
    assert third.calls == []
    assert missing(folder, items(), ARMS) == 0


def test_a_picture_is_scanned_once_and_its_scan_is_part_of_the_cost(tmp_path: Path) -> None:
    folder, _ = ran(tmp_path, Counted(), items(2))
    scans = folder.scans()
    assert [scans[key]["images"][0]["decision"] for key in ("item-0", "item-1")] == [
        "allow",
        "mask",
    ]
    assert scans["item-1"]["images"][0]["boxes"]
    assert "source" not in scans["item-1"]["images"][0]
    for key, answer in folder.answers("full").items():
        assert answer["seconds"] > scans[key]["seconds"] > 0
    assert folder.answers("full")["item-0"]["text"] == "echo: question 0 [1 image]"


def test_a_scan_stores_the_smallest_ratio_of_a_patch() -> None:
    verdict = red_chain().guard.scan(picture(red=True))
    assert smallest_ratio(verdict) == pytest.approx(verdict.distance / verdict.threshold)

    def with_patches(distances: list[float], thresholds: list[float]) -> float | None:
        arrays = {"patch_distances": distances, "patch_thresholds": thresholds}
        changes: Any = {name: np.array(values) for name, values in arrays.items()}
        return smallest_ratio(replace(verdict, evidence=replace(verdict.evidence, **changes)))

    # Thresholds of two forms: the verdict's patch is the second one, at 0.9 of its own.
    assert with_patches([0.1, 9.0], [0.5, 10.0]) == pytest.approx(0.2)
    assert with_patches([0.1, 0.2], [math.nan, math.nan]) is None
    assert with_patches([], []) is None
    assert with_patches([0.1, math.nan], [0.5, 0.5]) is None


def test_one_item_that_fails_stops_no_other_and_is_asked_again(tmp_path: Path) -> None:
    bad = Item("bad", "what?", (b"no picture",))
    large = Item("large", "too large", (GREEN,))
    folder, failures = ran(tmp_path, Counted(), (*items(2), bad, large))
    assert {(one.arm, one.item) for one in failures} == {
        (arm, item) for arm in ARMS for item in ("bad", "large")
    }
    assert {type(one.error) for one in failures} == {ImageRejected, OutOfMemory}
    assert list(folder.answers("full")) == ["item-0", "item-1"]
    again = Counted()
    assert len(ran(tmp_path, again, (*items(2), bad, large))[1]) == 4
    assert again.calls == []


def test_one_picture_that_cannot_be_scanned_hides_no_other_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = png(CanonicalImage(np.zeros((40, 90, 3), np.uint8)))
    some = (*items(1), Item("wide", "what?", (wide,)))
    with opened(tmp_path, Counted(), some) as (folder, chain):
        usual = ImageGuard.sanitize_many

        def failing(guard: ImageGuard, sources: Sequence[Any], **given: Any) -> Any:
            if any(source.width == 90 for source in sources):
                raise GuardError("Too many crops.", stage="detection")
            return usual(guard, sources, **given)

        monkeypatch.setattr(ImageGuard, "sanitize_many", failing)
        arms = {"full": build_arm("full", chain, ArmSettings())}
        failures = [one for step in run_arms(folder, some, chain, arms) for one in step.failures]
    assert [one.item for one in failures] == ["wide"]
    assert list(folder.scans()) == list(folder.answers("full")) == ["item-0"]


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    ran(tmp_path, Counted(), items(2))
    with pytest.raises(ConfigError, match="different items, items_sha256"):
        ran(tmp_path, Counted(), items(3))
    options = GenerationOptions(max_new_tokens=3)
    with (
        pytest.raises(ConfigError, match="different options"),
        opened(tmp_path, Counted(), items(2), options=options),
    ):
        pass
    with opened(tmp_path, Counted(), items(2)), pytest.raises(ConfigError, match="another process"):
        ran(tmp_path, Counted(), items(2))
    with pytest.raises(ConfigError, match="guardalign eval"):
        RunFolder.read(tmp_path / "answers")


def test_an_arm_with_a_setting_is_added_and_left_out(tmp_path: Path) -> None:
    ran(tmp_path, Counted(), items(2))
    eta = (*ARMS, "eta")
    with opened(tmp_path, Counted(), items(2), eta, eta_threshold=0.3) as (folder, _):
        assert folder.arm_settings == {"eta": {"threshold": 0.3}}
    # It has no answers yet, so that another threshold spoils none.
    with opened(tmp_path, Counted(), items(2), eta, eta_threshold=0.4) as (folder, _):
        folder.add_answers("eta", [{"id": "item-0", "text": "no"}])
    with opened(tmp_path, Counted(), items(2)) as (folder, _):
        assert folder.arm_settings == {"eta": {"threshold": 0.4}}
    with (
        pytest.raises(ConfigError, match="different setting of the arm eta"),
        opened(tmp_path, Counted(), items(2), eta, eta_threshold=0.5),
    ):
        pass
    with (
        opened(tmp_path, Counted(), items(2), ("neutral",), neutral=("One.",)) as (folder, _),
    ):
        assert folder.arm_settings["neutral"] == {"sentences": ["One."]}


def test_the_threshold_of_a_run_by_an_earlier_version_is_read(tmp_path: Path) -> None:
    with opened(tmp_path, Counted(), items(2)) as (folder, _):
        folder.add_answers("eta", [{"id": "item-0", "text": "no"}])
    told = json.loads((tmp_path / "run.json").read_text())
    del told["arms"]
    told["identity"] |= {"eta_threshold": 0.3, "neutral": ["One."]}
    (tmp_path / "run.json").write_text(json.dumps(told))
    with opened(tmp_path, Counted(), items(2), ("eta",), eta_threshold=0.3) as (folder, _):
        assert folder.arm_settings["neutral"] == {"sentences": ["One."]}
    with (
        pytest.raises(ConfigError, match="different setting of the arm eta"),
        opened(tmp_path, Counted(), items(2), ("eta",), eta_threshold=0.4),
    ):
        pass


def test_other_weights_under_the_same_name_are_another_run(tmp_path: Path) -> None:
    first: Any = Counted()
    first.provenance = Weights("a" * 64)
    ran(tmp_path, first, items(2))
    again: Any = Counted()
    again.provenance = Weights("a" * 64)
    ran(tmp_path, again, items(2))
    other: Any = Counted()
    other.provenance = Weights("b" * 64)
    with pytest.raises(ConfigError, match="different weights"):
        ran(tmp_path, other, items(2))


def test_attention_is_measured_on_the_items_that_can_be_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Reporting(EchoRunner):
        def generate(self, messages: Sequence[Message], **options: Any) -> Any:
            if "too long" in messages[-1].text:
                raise ContextOverflow("The prompt is too long.", tokens=9, limit=8)
            share = 0.4 if options["calibrate"] else 0.1
            report = CalibrationReport(
                "on", True, layers=(1,), prefix_attention=((0, 0.1), (1, share))
            )
            return SimpleNamespace(calibration=report)

    monkeypatch.setattr(attention, "CalibratedRunner", Reporting)
    chain = GuardAlign(red_chain().guard, Reporting())
    bad = (Item("bad", "what?", (b"no picture",)), Item("long", "too long", (GREEN,)))
    found = attention_to_prefix(chain, (*bad, *items(2)))
    assert found is not None
    assert (found["items"], found["layers"], found["calibrated"]) == (2, [0, 1], [1])
    assert (found["prefix"], found["calibration"]) == ([0.1, 0.1], [0.1, 0.4])
    assert attention_to_prefix(chain, bad) is None


def test_every_part_of_an_item_is_in_the_digest() -> None:
    first = Item("a", "b", (GREEN,), "c")
    others = [
        Item("ab", "", (GREEN,), "c"),
        Item("a", "b", (RED,), "c"),
        Item("a", "b", (GREEN,), "d"),
        Item("a", "b", (), "c"),
    ]
    assert len({items_digest([one]) for one in (first, *others)}) == 5


def test_a_line_that_was_cut_off_is_asked_again(tmp_path: Path) -> None:
    folder, _ = ran(tmp_path, Counted(), items(2))
    path = tmp_path / "answers" / "vanilla.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert list(folder.answers("vanilla")) == ["item-0"]
    runner = Counted()
    ran(tmp_path, runner, items(2))
    assert len(runner.calls) == 1
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [
        "item-0",
        "item-1",
    ]
    path.write_text(path.read_text() * 2)
    with pytest.raises(ConfigError, match="twice"):
        folder.answers("vanilla")
    path.write_text("[]\n")
    with pytest.raises(ConfigError, match="line 1"):
        folder.answers("vanilla")


def test_stored_answers_are_judged_once_by_each_judge(tmp_path: Path) -> None:
    folder, _ = ran(tmp_path, Counted(), items())
    folder.add_answers(
        "eta", [{"id": "item-0", "text": "no", "finish_reason": "blocked", "calls": 0}]
    )
    judge = Words()
    assert unjudged(folder, judge.name, ("vanilla", "eta")) == 7
    assert sum(judge_answers(folder, items(), judge, ("vanilla", "eta"))) == 7
    assert len(judge.judged) == 6
    blocked = Judgement("refusal", BLOCKED, "blocked")
    assert folder.judgements(judge.name, "eta") == {"item-0": blocked}
    assert list(judge_answers(folder, items(), judge, ("vanilla", "eta"))) == []
    assert folder.judges == ("words-1-2",)
    assert folder.arms == ("eta", "full", "vanilla")


def test_figures_count_what_the_judge_could_not_say_both_ways(tmp_path: Path) -> None:
    folder, _ = ran(tmp_path, Counted(), items())
    judge = Words()
    list(judge_answers(folder, items(), judge, ("vanilla",)))
    (row,) = rows_of(
        "vanilla",
        items(),
        "safety",
        folder.answers("vanilla"),
        folder.judgements(judge.name, "vanilla"),
    )
    assert row.unsafe is not None
    assert row.unsafe_parsed is not None
    assert (row.unsafe.value, row.unsafe_parsed.value) == (4 / 6, 3 / 5)
    assert (row.unparsed, row.answered, row.asked, row.calls) == (1, 6, 6, 1.0)
    assert row.right is None
    assert row.to_json()["unsafe"]["n"] == 6


def test_harmless_items_have_refusals_and_right_answers() -> None:
    some = [Item(str(n), "?", target="yes", metadata={"category": "ab"[n % 2]}) for n in range(4)]
    answers = {one.id: {"seconds": 1.0, "calls": 1, "output_tokens": 2} for one in some}
    judged = {
        "0": Judgement("refusal", "a judge", with_echo="refusal"),
        "1": Judgement("compliance", "a judge", "right", with_echo="refusal"),
        "2": Judgement("compliance", "a judge", "wrong"),
    }
    rows = {row.group: row for row in rows_of("full", some, "utility", answers, judged)}
    assert list(rows) == ["all", "a", "b"]
    whole = rows["all"]
    assert (whole.wanted, whole.asked, whole.answered, whole.unsafe) == ("answer", 4, 3, None)
    assert whole.right is not None
    assert whole.refused is not None
    assert whole.refused_with_echo is not None
    assert (whole.right.value, whole.refused.value) == (1 / 3, 1 / 3)
    assert whole.refused_with_echo.value == 2 / 3
    assert rows["b"].answered == 1
    assert rows["b"].right is not None


def test_an_arm_that_refuses_everything_answers_nothing_right() -> None:
    some = [Item(str(n), "?", target="yes", metadata={"label": "safe"}) for n in range(4)]
    answers = {one.id: {"seconds": 1.0, "calls": 1, "output_tokens": 2} for one in some}
    labels: tuple[Label, ...] = ("refusal", "refusal", "unparsed", "refusal")
    judged = {one.id: Judgement(label, "a judge") for one, label in zip(some, labels, strict=True)}
    (row,) = rows_of("full", some, "utility", answers, judged, graded=True)
    assert row.right is not None
    assert (row.right.value, row.right.n) == (0.0, 4)
    # A judge that never says what is right has no such figure.
    (row,) = rows_of("full", some, "utility", answers, judged)
    assert row.right is None
    mini = {key: Judgement(one.label, MiniJudge.name) for key, one in judged.items()}
    assert rows_of("full", some, "utility", answers, mini)[0].right is not None
    # Nor has a group without right answers.
    bare = [Item(one.id, "?", metadata={"label": "safe"}) for one in some]
    assert rows_of("full", bare, "utility", answers, judged, graded=True)[0].right is None


def test_a_judge_of_harm_gives_no_figure_of_refusals() -> None:
    some = [Item(str(n), "?", metadata={"label": "unsafe" if n else "safe"}) for n in range(3)]
    answers = {one.id: {"seconds": 1.0, "calls": 1, "output_tokens": 2} for one in some}
    judged = {one.id: Judgement("safe", "a judge") for one in some}
    harmful, harmless = rows_of("full", some, "safety", answers, judged)
    assert harmful.unsafe is not None
    assert (harmful.unsafe.value, harmful.refused) == (0.0, None)
    assert (harmless.unsafe, harmless.refused) == (None, None)
