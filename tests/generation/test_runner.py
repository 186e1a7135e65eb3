"""The calibrated runner from messages to answers, on tiny random models."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from guardalign_middleware.errors import (
    CalibrationError,
    ConfigError,
    GuardError,
    MessageError,
)
from guardalign_middleware.generation import CalibratedRunner, LoadedModel, Runner
from guardalign_middleware.generation.engine import inference as inference_module
from guardalign_middleware.generation.options import GenerationOptions
from guardalign_middleware.generation.prompt.span_marks import NO_MARKS
from guardalign_middleware.replies import Generated
from guardalign_middleware.types import Message, TextPart
from tests.support.messages import conversations, picture, user

MakeRunner = Callable[..., CalibratedRunner]


def untouched(runner: CalibratedRunner) -> bool:
    decoder = runner._model.get_decoder()
    return decoder.config._attn_implementation == "sdpa" and not decoder._forward_pre_hooks


def question() -> list[Message]:
    return [user(picture(), "What is in the picture?")]


def test_it_fulfils_the_contract(runner: CalibratedRunner) -> None:
    contract: Runner = runner
    assert contract.name == "llava"
    assert contract.config.max_new_tokens == 8


SAMPLED: GenerationOptions = {"temperature": 0.7, "seed": 3}
WAYS: list[GenerationOptions] = [{}, SAMPLED]


@pytest.fixture(scope="module")
def alone(family_runner: CalibratedRunner) -> Callable[..., Generated]:
    """The answer to one conversation asked alone, generated once for all tests of a family."""

    @cache
    def generated(index: int, prefix: bool, sampled: bool) -> Generated:
        messages = conversations()[index]
        return family_runner.generate(messages, prefix=prefix, **WAYS[sampled])

    return generated


def test_every_family_answers_under_proven_calibration(
    family_runner: CalibratedRunner, alone: Callable[..., Generated]
) -> None:
    for index in range(4):
        reply = alone(index, True, False)
        report = reply.calibration
        assert report.state == "on"
        assert report.reason == ""
        assert (report.gamma, report.mode, report.layers) == (0.5, "positive", (1, 2))
        assert report.prefix_tokens > 10
        assert report.instruction_tokens > 0
        assert reply.usage.output_tokens <= 8
    assert untouched(family_runner)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_batch_answers_as_single_calls_do(
    family_runner: CalibratedRunner, alone: Callable[..., Generated], sampled: bool
) -> None:
    rows, options = conversations(), WAYS[sampled]
    flags = [True, False, True, True]
    single = [alone(index, flag, sampled) for index, flag in enumerate(flags)]
    assert family_runner.generate_batch(rows, prefix=flags, **options) == single
    turned = family_runner.generate_batch(rows[::-1], prefix=flags[::-1], **options)
    assert turned == single[::-1]


def test_large_batches_are_split(make_runner: MakeRunner) -> None:
    small = make_runner(batch_size=3)
    rows = conversations() * 2
    assert small.generate_batch(rows) == [small.generate(row) for row in rows]
    assert small.generate_batch([]) == []


@pytest.mark.parametrize("how", ["gamma", "calibrate"])
def test_without_calibration_it_is_the_plain_model(make_runner: MakeRunner, how: str) -> None:
    runner = make_runner(calibration={"gamma": 0.0 if how == "gamma" else 1.0})
    reply = runner.generate(question(), calibrate=how == "gamma")
    prompt = runner._prompts._render(question(), True, NO_MARKS, ())
    inputs = runner._prompts._processor(
        text=[prompt],
        images=[[picture().to_pil()]],
        add_special_tokens=False,
        return_tensors="pt",
    )
    with torch.inference_mode():
        out = runner._model.generate(**inputs, do_sample=False, max_new_tokens=8)
    ids = out[0, inputs["input_ids"].shape[1] :].tolist()
    assert reply.text == runner._text_of(ids).strip()
    assert reply.usage.input_tokens == inputs["input_ids"].shape[1]
    assert reply.usage.output_tokens == len(ids)
    assert reply.calibration.state == "off"
    assert reply.calibration.prefix
    assert reply.calibration.reason


def test_the_answer_depends_on_gamma_mode_and_rows(
    make_runner: MakeRunner,
) -> None:
    settings: list[dict[str, Any]] = [
        {"gamma": 0.0},
        {"gamma": 3.0},
        {"gamma": 3.0, "mode": "paper"},
        {"gamma": 3.0, "rows": "instruction_and_generated"},
        {"gamma": 3.0, "band": (0.0, 0.3)},
    ]
    texts = {
        make_runner(calibration=c, max_new_tokens=60).generate(question()).text for c in settings
    }
    assert len(texts) == len(settings)


def test_without_prefix_nothing_is_calibrated(runner: CalibratedRunner) -> None:
    report = runner.generate(question(), prefix=False).calibration
    assert (report.state, report.prefix) == ("off", False)
    assert "no safety prefix" in report.reason


def test_an_image_without_words_is_answered_and_reported_off(runner: CalibratedRunner) -> None:
    report = runner.generate([user(picture())]).calibration
    assert (report.state, report.prefix) == ("off", True)
    assert "no text" in report.reason


def test_the_prefix_in_the_system_message(make_runner: MakeRunner) -> None:
    runner = make_runner(prefix={"placement": "system"})
    assert runner.generate(question()).calibration.state == "on"


def test_the_model_gets_the_very_pixels(
    runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    inner = runner._prompts._call

    def spy(processor: Any, prompts: list[str], images: list[list[Any]]) -> dict[str, Any]:
        seen.extend(image for row in images for image in row)
        return inner(processor, prompts, images)

    monkeypatch.setattr(runner._prompts, "_call", spy)
    runner.generate([user(picture(5), "a", picture(6))])
    assert [image.tobytes() for image in seen] == [picture(i).pixels.tobytes() for i in (5, 6)]


@pytest.mark.parametrize("sampled", [False, True])
def test_stream_joins_to_generate(
    family_runner: CalibratedRunner, alone: Callable[..., Generated], sampled: bool
) -> None:
    for index, messages in enumerate(conversations()):
        whole = alone(index, True, sampled)
        stream = family_runner.stream(messages, **WAYS[sampled])
        assert "".join(stream) == whole.text
        assert stream.result == whole


def test_closing_a_stream_stops_the_model(runner: CalibratedRunner) -> None:
    with runner.stream(question(), max_new_tokens=900) as stream:
        next(stream)
    assert stream.result.finish_reason == "cancelled"
    assert stream.result.usage.output_tokens < 900
    assert untouched(runner)
    assert runner.generate(question()).calibration.state == "on"


def test_stop_strings_end_the_answer_and_are_not_part_of_it(runner: CalibratedRunner) -> None:
    whole = runner.generate(question())
    cut = whole.text[3:5]
    reply = runner.generate(question(), stop=[cut, "never"])
    assert reply.text == whole.text[: whole.text.index(cut)].strip()
    assert reply.finish_reason == "stop"
    assert reply.usage.output_tokens < whole.usage.output_tokens
    stream = runner.stream(question(), stop=[cut])
    assert "".join(stream) == reply.text
    others = runner.generate_batch([question(), conversations()[1]], stop=[cut])
    assert others[0] == reply


def test_finish_reasons(runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = runner.generate(question(), max_new_tokens=2)
    assert (reply.finish_reason, reply.usage.output_tokens) == ("length", 2)
    prompts = runner._prompts.encode([question()], prefix=[False], spans=False)
    with torch.inference_mode():
        out = runner._model.generate(**prompts.inputs, do_sample=False, max_new_tokens=3)
    monkeypatch.setattr(runner._model.generation_config, "eos_token_id", int(out[0, -2]))
    device = torch.device("cpu")
    loaded = LoadedModel(runner.name, runner._model, runner._prompts._processor, device)
    reply = CalibratedRunner(loaded, runner.config).generate(question(), prefix=False)
    assert (reply.finish_reason, reply.usage.output_tokens) == ("stop", 2)


def test_seeds(runner: CalibratedRunner) -> None:
    def sample(seed: int) -> str:
        return runner.generate(question(), temperature=1.5, seed=seed).text

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(4)}) > 1


def test_concurrent_callers_get_their_own_answers(runner: CalibratedRunner) -> None:
    def ask(index: int) -> Any:
        return runner.generate(
            conversations()[index % 4], prefix=index % 3 > 0, calibrate=index % 2 > 0
        )

    alone = [ask(i) for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, [*range(12), *range(12)])) == alone * 2
    assert untouched(runner)


def test_a_fault_of_the_model_leaves_nothing_behind(
    runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(module: Any, args: Any, output: Any) -> Any:
        return output * float("nan")

    hook = runner._model.lm_head.register_forward_hook(nan)
    try:
        with pytest.raises(GuardError, match="NaN"):
            runner.generate(question())
        with pytest.raises(GuardError, match="NaN"):
            list(runner.stream(question()))
    finally:
        hook.remove()
    assert untouched(runner)


def test_a_model_that_ignores_the_interface_fails_closed(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner()
    assert runner.layers.indices == (1, 2)
    decoder = runner._model.get_decoder()
    monkeypatch.setattr(decoder, "set_attn_implementation", lambda name: None)
    with pytest.raises(CalibrationError, match="did not calibrate"):
        runner.generate(question())


def cannot(*args: Any) -> None:
    raise CalibrationError("Attention uses s_aux, which cannot be calibrated.", stage="calibration")


def test_an_uncalibratable_family_is_refused_with_the_reason(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference_module, "find_attention_layers", cannot)
    runner = make_runner()
    for ask in (runner.generate, runner.stream):
        with pytest.raises(CalibrationError, match="s_aux"):
            ask(question())
    assert runner.generate(question(), calibrate=False).calibration.state == "off"
    assert runner.generate(question(), prefix=False).calibration.state == "off"


def test_an_uncalibratable_family_answers_without_only_if_allowed_and_says_so(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference_module, "find_attention_layers", cannot)
    runner = make_runner(calibration={"unsupported": "off"})
    reply = runner.generate(question())
    assert reply.text == runner.generate(question(), calibrate=False).text
    assert (reply.calibration.state, reply.calibration.prefix) == ("off", True)
    assert "this model cannot be calibrated: Attention uses s_aux" in reply.calibration.reason
    with pytest.raises(CalibrationError, match="s_aux"):
        runner.generate(question(), explain=True)


def test_explaining_tells_what_the_instruction_pays_the_prefix(
    make_runner: MakeRunner,
) -> None:
    runner = make_runner(calibration={"gamma": 2.0})
    silent = runner.generate(question())
    assert silent.calibration.prefix_attention == ()
    assert "prefix_attention" not in silent.calibration.to_json()
    told = runner.generate(question(), explain=True)
    plain = runner.generate(question(), explain=True, calibrate=False)
    assert told.text == silent.text
    assert plain.text == runner.generate(question(), calibrate=False).text
    with_it, without = told.calibration.prefix_attention, plain.calibration.prefix_attention
    assert len(with_it) == len(without) == 4
    assert [layer for layer, _ in with_it] == [0, 1, 2, 3]
    assert all(0.0 < share < 1.0 for _, share in with_it + without)
    # Layers below the band are the same; in the band the prefix gets more.
    assert with_it[0] == without[0]
    assert with_it[1][1] > without[1][1]
    told_json = told.calibration.to_json()["prefix_attention"]
    assert [tuple(pair) for pair in told_json] == list(with_it)
    assert (plain.calibration.state, plain.calibration.gamma) == ("off", 0.0)
    assert runner.generate(question(), prefix=False, explain=True).calibration.reason


@pytest.mark.parametrize(
    "messages",
    [[], [Message("assistant", (TextPart("hi"),))], [user("word " * 2000)]],
    ids=["empty", "no user", "too long"],
)
def test_messages_the_model_cannot_be_asked(
    runner: CalibratedRunner, messages: list[Message]
) -> None:
    with pytest.raises(MessageError):
        runner.generate(messages)
    with pytest.raises(MessageError):
        runner.stream(messages)


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"stop": [""]},
    ],
)
def test_bad_options(runner: CalibratedRunner, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="should"):
        runner.generate(question(), **options)


def test_counting_tokens_agrees_with_the_usage_of_the_answer(runner: CalibratedRunner) -> None:
    for messages in conversations():
        for prefix in (True, False):
            reply = runner.generate(messages, prefix=prefix, max_new_tokens=1)
            assert runner.count_tokens(messages, prefix=prefix) == reply.usage.input_tokens
    assert runner._text_of(runner.token_ids("a red dog")) == "a red dog"


def test_one_prefix_flag_per_row(runner: CalibratedRunner) -> None:
    with pytest.raises(ConfigError, match=r"\(2\). Got 1"):
        runner.generate_batch([question(), question()], prefix=[True])


def test_bad_fields_are_a_config_error(model_directory: Callable[[str], Path]) -> None:
    directory = str(model_directory("llava"))
    with pytest.raises(ConfigError, match="gama"):
        CalibratedRunner.from_pretrained(directory, gama=1)
    with pytest.raises(ConfigError, match="empty"):
        CalibratedRunner.from_pretrained(directory, device="cpu", prefix={"text": "  "})


def test_answers_know_the_tokens_of_single_bytes(
    runner: CalibratedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner._text_of, "single_bytes", frozenset({5}))
    options = runner._requests.resolve({})
    job = runner._job([user("hi")], options, prefix=False, calibrate=False)
    assert job.decoder._single_bytes == {5}


def test_only_the_strength_changes_without_a_new_runner(runner: CalibratedRunner) -> None:
    before = runner.config
    with pytest.raises(AttributeError):
        # Most of it was decided when the runner was made.
        runner.config = before.model_copy(update={"batch_size": 1})  # type: ignore[misc]
    strong = runner.at_gamma(2.0)
    assert strong.config.calibration == before.calibration.model_copy(update={"gamma": 2.0})
    assert strong.generate(question()).calibration.gamma == 2.0
    assert runner.config == before
    for gamma in (-1.0, float("nan"), 1e39):
        with pytest.raises(ConfigError, match="gamma"):
            runner.at_gamma(gamma)


LONG = "Please say more about it. " * 8


def far_prefix() -> list[Message]:
    """The prefix, in the system message, is over 48 tokens before the instruction."""
    history = [user(f"{LONG}"), Message("assistant", (TextPart("Well."),))]
    return [*history, user("Why?")]


def test_a_prefix_outside_every_window_is_never_reported_on(
    model_directory: Callable[[str], Path],
) -> None:
    def make(unsupported: str) -> CalibratedRunner:
        return CalibratedRunner.from_pretrained(
            str(model_directory("llava_mistral")),
            device="cpu",
            max_new_tokens=4,
            prefix={"placement": "system"},
            calibration={"unsupported": unsupported},
        )

    with pytest.raises(CalibrationError, match="outside the attention window") as caught:
        make("refuse").generate(far_prefix())
    assert "before_instruction" in caught.value.remedy
    runner = make("off")
    reply = runner.generate(far_prefix())
    assert (reply.calibration.state, reply.calibration.layers) == ("off", ())
    assert "attention window" in reply.calibration.reason
    assert reply.text == runner.generate(far_prefix(), calibrate=False).text
    # The window is of tokens: a short conversation in the same batch is calibrated.
    near = [user("Why?")]
    answers = runner.generate_batch([far_prefix(), near])
    assert [answer.calibration.state for answer in answers] == ["off", "on"]
    assert answers[1] == runner.generate(near)


def test_only_layers_that_see_the_prefix_are_reported(
    model_directory: Callable[[str], Path],
) -> None:
    runner = CalibratedRunner.from_pretrained(
        str(model_directory("gemma3")),
        device="cpu",
        max_new_tokens=2,
        prefix={"placement": "system"},
        calibration={"band": (0.0, 1.0)},
    )
    assert runner.generate(far_prefix()).calibration.layers == (1, 3)
    assert runner.generate([user("Why?")]).calibration.layers == (0, 1, 2, 3)


def test_an_answer_ends_where_the_model_has_no_more_positions(
    make_runner: Callable[..., CalibratedRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner()
    row = [user("Hello")]
    tokens = runner.count_tokens(row)
    whole = runner.generate(row, max_new_tokens=9)
    assert whole.usage.output_tokens == 9
    monkeypatch.setattr(runner._prompts, "max_tokens", tokens + 3)
    reply = runner.generate(row, max_new_tokens=1_000_000)
    assert (reply.finish_reason, reply.usage.output_tokens) == ("length", 4)
    assert whole.text.startswith(reply.text)
    monkeypatch.setattr(runner._prompts, "max_tokens", tokens)
    assert runner.generate(row).usage.output_tokens == 1
