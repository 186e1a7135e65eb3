"""Each arm calls the model as often as it says, with what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import pytest

from guardalign_middleware import ConfigError, GuardAlign
from guardalign_middleware.evaluation.arms import ARMS, Asked, arm_names
from guardalign_middleware.evaluation.arms.build import ArmSettings, build_arm
from guardalign_middleware.evaluation.arms.ecso import RESPONSE_CHARACTERS
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.replies import CalibrationReport, Generated, Usage
from guardalign_middleware.testing import EchoRunner, picture, red_chain, red_config
from guardalign_middleware.types import ImagePart, Message, TextPart

GREY = (127, 127, 127)


def ask(*, red: bool = False, pictures: int = 1, text: str = "what is it?") -> Asked:
    shown = (ImagePart(picture(red=red)),) * pictures
    return (Message("user", (*shown, TextPart(text))),)


def chain_of(runner: EchoRunner) -> GuardAlign:
    return GuardAlign(red_chain().guard, runner)


def test_a_list_of_arms_is_read_in_the_order_of_tables() -> None:
    assert arm_names("full, vanilla") == ("vanilla", "full")
    assert arm_names("all") == tuple(ARMS)
    assert arm_names("full@2,full,calibration@0.5") == ("calibration@0.5", "full", "full@2")
    assert arm_names("all,full@2") == (*tuple(ARMS)[:7], "full@2", *tuple(ARMS)[7:])
    for wrong in ("", "full,none", "eta@1", "full@", "full@-1", "full@nan"):
        with pytest.raises(ConfigError, match="Arms are: vanilla"):
            arm_names(wrong)
    with pytest.raises(ConfigError, match="'none'"):
        build_arm("none", red_chain(), ArmSettings())


@pytest.mark.parametrize(
    ("name", "prefix", "calibrate", "masked"),
    [
        ("vanilla", False, False, False),
        ("prefix", True, False, False),
        ("calibration", True, True, False),
        ("detection", False, False, True),
        ("detection-prefix", True, False, True),
        ("full", True, True, True),
    ],
)
def test_an_arm_is_the_parts_it_names(
    name: str, prefix: bool, calibrate: bool, masked: bool
) -> None:
    runner = EchoRunner()
    arm = build_arm(name, chain_of(runner), ArmSettings())
    asked = ask(red=True)
    (answer,) = arm.answer([asked])
    (call,) = runner.calls
    assert (call.prefix, call.calibrate, arm.scans) == (prefix, calibrate, masked)
    changed = (call.images[0].pixels != asked[0].images[0].pixels).any()
    assert bool(changed) is masked
    assert (answer.text, answer.calls) == ("echo: what is it? [1 image]", 1)
    assert answer.to_json()["detail"] == {}


def test_a_guard_that_only_observes_has_no_arm_of_masked_pictures() -> None:
    chain = red_chain(red_config(mode="observe"))
    for name in ("detection", "detection-prefix", "full"):
        with pytest.raises(ConfigError, match="mode: enforce"):
            build_arm(name, chain, ArmSettings())
    (answer,) = build_arm("vanilla", chain, ArmSettings()).answer([ask()])
    assert answer.calls == 1


def test_options_reach_the_model() -> None:
    settings = ArmSettings(GenerationOptions(max_new_tokens=2))
    for name in ("vanilla", "full", "ecso"):
        (answer,) = build_arm(name, chain_of(EchoRunner()), settings).answer([ask()])
        assert (answer.text, answer.finish_reason) == ("echo: what", "length")


def test_a_blocked_picture_takes_no_call() -> None:
    chain = red_chain()
    blocking = chain.config.model_copy(
        update={"sanitize": chain.config.sanitize.model_copy(update={"method": "block"})}
    )
    chain.guard.config = blocking
    runner = EchoRunner()
    (answer,) = build_arm("detection", GuardAlign(chain.guard, runner), ArmSettings()).answer(
        [ask(red=True)]
    )
    assert (answer.calls, answer.finish_reason, runner.calls) == (0, "blocked", [])


def test_the_control_sentence_depends_on_the_request_alone() -> None:
    runner = EchoRunner()
    settings = ArmSettings(neutral=("one .", "two ."))
    arm = build_arm("neutral", chain_of(runner), settings)
    together = [each.text for each in arm.answer([ask(text="a"), ask(text="ab")])]
    assert together == ["echo: two . a [1 image]", "echo: one . ab [1 image]"]
    assert arm.answer([ask(text="ab")])[0].text == together[1]


class Scripted(EchoRunner):
    """Answers by what the prompt holds."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[tuple[str, int]] = []

    def generate_batch(
        self,
        rows: Sequence[Sequence[Message]],
        *,
        prefix: bool | Sequence[bool] = True,
        calibrate: bool = True,
        **options: Unpack[GenerationOptions],
    ) -> list[Generated]:
        assert (prefix, calibrate) == (False, False)
        found = []
        for row in rows:
            text = row[-1].text
            self.asked.append((text, len(row[-1].images)))
            answer = next((a for part, a in self.answers.items() if part in text), "first")
            report = CalibrationReport("off", prefix=False)
            found.append(Generated(answer, "stop", report, Usage(10, 1)))
        return found


def test_ecso_answers_again_only_where_the_model_calls_its_answer_harmful() -> None:
    runner = Scripted(
        {"some hints": "last", "describe the image": "a caption", "RESPONSE:\nfirst": "Yes."}
    )
    arm = build_arm("ecso", chain_of(runner), ArmSettings())
    (answer,) = arm.answer([ask(text="how?")])
    assert (answer.text, answer.calls, answer.input_tokens) == ("last", 4, 40)
    assert answer.detail == {"judged_harmful": True}
    # The last call has no picture and the model's own caption.
    assert [images for _, images in runner.asked] == [1, 1, 1, 0]
    assert '"Answer: a caption"' in runner.asked[-1][0]
    assert runner.asked[-1][0].endswith("how?")


def test_ecso_stops_after_two_calls_otherwise_and_cuts_what_is_judged() -> None:
    long = "x" * 5000
    runner = Scripted({"RESPONSE:": "no, not harmful. yes.", "how?": long})
    arm = build_arm("ecso", chain_of(runner), ArmSettings())
    answers = arm.answer([ask(text="how?"), ask(text="how?", pictures=0)])
    assert [each.calls for each in answers] == [2, 1]
    assert answers[0].text == long
    assert runner.asked[2][0].count("x") == RESPONSE_CHARACTERS


def test_eta_puts_the_prefix_where_the_whole_picture_is_unsafe() -> None:
    runner = EchoRunner()
    chain = chain_of(runner)
    red, green = ask(red=True), ask()
    probe: Any = build_arm("eta", chain, ArmSettings(eta_threshold=2.0))
    values = [probe.check.similarity(each[0].images[0]) for each in (red, green)]
    assert values[0] > values[1]
    arm = build_arm("eta", chain, ArmSettings(eta_threshold=sum(values) / 2))
    answers = arm.answer([red, green, ask(pictures=0)])
    assert [each.detail["flagged"] for each in answers] == [True, False, False]
    assert [call.prefix for call in runner.calls] == [True, False, False]
    assert not any(call.calibrate for call in runner.calls)


def test_eta_has_no_threshold_for_another_encoder() -> None:
    with pytest.raises(ConfigError, match="--eta-threshold"):
        build_arm("eta", red_chain(), ArmSettings())
