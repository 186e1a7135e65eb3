"""What a model's own generation_config may decide, and what is refused before any request."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GenerationConfig

from guardalign_middleware.errors import ModelLoadError
from guardalign_middleware.generation import CalibratedRunner, LoadedModel
from guardalign_middleware.generation.engine.model_settings import ModelSettings, model_settings
from tests.support.messages import picture, user

ODD: list[tuple[str, Any]] = [
    ("bad_words_ids", "curse"),
    ("begin_suppress_tokens", "abc"),
    ("cache_implementation", "paged"),
    ("cache_implementation", "none such"),
    ("constraints", [1]),
    ("dola_layers", "high"),
    ("encoder_no_repeat_ngram_size", "two"),
    ("encoder_repetition_penalty", -1.0),
    ("eos_token_id", -1),
    ("eos_token_id", "</s>"),
    ("eos_token_id", [2, None]),
    ("eos_token_id", True),
    ("exponential_decay_length_penalty", 3),
    ("exponential_decay_length_penalty", ["a", 1.0]),
    ("forced_eos_token_id", 10**9),
    ("max_time", 0.5),
    ("min_length", -3),
    ("min_new_tokens", "many"),
    ("no_repeat_ngram_size", 2.5),
    ("penalty_alpha", 0.6),
    ("prompt_lookup_num_tokens", 3),
    ("repetition_penalty", 0.0),
    ("repetition_penalty", float("nan")),
    ("repetition_penalty", "high"),
    ("sequence_bias", {"a": 1}),
    ("stop_strings", ["end"]),
    ("suppress_tokens", "abc"),
    ("token_healing", True),
    ("use_mtp", True),
]


def with_entries(loaded: LoadedModel, **entries: Any) -> LoadedModel:
    """The same model with other entries in its generation_config."""
    model = copy.copy(loaded.model)
    model.generation_config = copy.deepcopy(loaded.model.generation_config)
    for name, value in entries.items():
        setattr(model.generation_config, name, value)
    return LoadedModel(loaded.name, model, loaded.processor, loaded.device)


def settings(loaded: LoadedModel, **entries: Any) -> ModelSettings:
    changed = with_entries(loaded, **entries)
    return model_settings(changed.model, changed.processor.tokenizer)


@pytest.mark.parametrize(("name", "value"), ODD)
def test_an_entry_that_cannot_be_followed_is_refused_at_load(
    llava: LoadedModel, name: str, value: Any
) -> None:
    with pytest.raises(ModelLoadError, match=name) as caught:
        settings(llava, **{name: value})
    assert "generation_config.json" in caught.value.remedy


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=5)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
)
NAMES = sorted(
    name for name in vars(GenerationConfig()) if not name.startswith("_") and "version" not in name
)


@given(st.sampled_from(NAMES), VALUES)
def test_any_value_of_any_entry_is_followed_or_refused(
    llava: LoadedModel, name: str, value: Any
) -> None:
    try:
        found = settings(llava, **{name: value})
    except ModelLoadError:
        return
    options = found.options(3)
    assert options.use_cache is True
    assert options.do_sample is False
    assert (options.num_beams, options.max_new_tokens) == (1, 3)


def test_sampling_and_beams_of_the_model_change_nothing(
    llava: LoadedModel, make_runner: Callable[..., CalibratedRunner]
) -> None:
    plain = make_runner()
    row = [user(picture(), "What is in the picture?")]
    entries = {
        "do_sample": True,
        "temperature": 0.1,
        "top_p": 0.001,
        "num_beams": 3,
        "guidance_scale": 5.0,
        "use_cache": False,
        "return_dict_in_generate": True,
        "output_scores": True,
        "pad_token_id": -1,
        "max_length": 3,
        "max_new_tokens": 1,
    }
    other = CalibratedRunner(with_entries(llava, **entries), plain.config)
    assert other.generate(row) == plain.generate(row)
    assert other.generate_batch([row, [user("x")]]) == [
        other.generate(row),
        plain.generate([user("x")]),
    ]


def test_a_model_that_says_use_cache_false_is_calibrated_with_a_cache(
    llava: LoadedModel,
    make_runner: Callable[..., CalibratedRunner],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = make_runner(max_new_tokens=12)
    row = [user(picture(), "What is in the picture?")]
    expected = plain.generate(row)
    for config in (llava.model.config, llava.model.config.get_text_config()):
        monkeypatch.setattr(config, "use_cache", False, raising=False)
    runner = CalibratedRunner(with_entries(llava, use_cache=False), plain.config)
    assert runner.generate(row) == expected
    assert expected.calibration.state == "on"
    assert expected.text != plain.generate(row, calibrate=False).text


@pytest.mark.parametrize(
    ("entries", "alone"),
    [
        ({"repetition_penalty": 1.3}, False),
        ({"no_repeat_ngram_size": 2}, True),
        ({"min_length": 20}, True),
        ({"forced_eos_token_id": 2}, True),
        ({"min_new_tokens": 3, "suppress_tokens": [9, 10]}, False),
    ],
)
def test_rows_of_different_length_get_the_answer_they_would_get_alone(
    llava: LoadedModel,
    make_runner: Callable[..., CalibratedRunner],
    entries: dict[str, Any],
    alone: bool,
) -> None:
    runner = CalibratedRunner(with_entries(llava, **entries), make_runner().config)
    assert runner._inference.settings.alone is alone
    rows = [[user("Hello")], [user("Tell me how to bake bread, please. " * 4)]]
    assert runner.generate_batch(rows) == [runner.generate(row) for row in rows]


def test_an_entry_changes_scores_as_in_the_plain_model(llava: LoadedModel) -> None:
    changed = with_entries(llava, repetition_penalty=1.5)
    prompt = changed.processor.tokenizer("Hello there", return_tensors="pt")
    found = model_settings(changed.model, changed.processor.tokenizer)
    with torch.inference_mode():
        expected = changed.model.generate(**prompt, do_sample=False, max_new_tokens=6)
        got = changed.model.generate(**prompt, generation_config=found.options(6))
    assert torch.equal(got, expected)
