"""Costs that calibration must not have: work in plain steps, and a score for every pair.

The prompt is read under calibration; the untouched model then generates the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AttentionInterface

from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.attention.activate import IMPLEMENTATION
from guardalign_middleware.generation.attention.forward import calibrated_attention_forward
from guardalign_middleware.generation.engine.job import Job
from guardalign_middleware.types import Message
from tests.support.messages import conversations, picture, user

TOKENS = 5


def make_runner(directory: Path, **changes: Any) -> CalibratedRunner:
    return CalibratedRunner.from_pretrained(
        str(directory), device="cpu", max_new_tokens=TOKENS, calibration={"gamma": 0.8, **changes}
    )


@pytest.fixture
def query_lengths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of queries in each call of the calibrated attention."""
    seen: list[int] = []

    def counted(module: nn.Module, query: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(query.shape[2])
        return calibrated_attention_forward(module, query, *args, **kwargs)

    monkeypatch.setitem(AttentionInterface._global_mapping, IMPLEMENTATION, counted)
    return seen


def test_an_answer_is_decoded_by_the_untouched_model(
    model_directory: Callable[[str], Path], query_lengths: list[int]
) -> None:
    runner = make_runner(model_directory("llava"))
    depth = len(runner._inference.all_layers.modules)
    decoder = runner._model.get_decoder()
    hooks: list[int] = []
    watch = decoder.layers[0].register_forward_pre_hook(
        lambda *_: hooks.append(len(decoder._forward_pre_hooks))
    )
    query_lengths.clear()
    reply = runner.generate([user(picture(1), "What is in the picture?")])
    watch.remove()
    assert reply.calibration.state == "on"
    assert reply.usage.output_tokens == TOKENS
    # Once for each layer, with the prompt; every later token takes the model's own path.
    assert query_lengths == [reply.usage.input_tokens] * depth
    assert hooks == [1] + [0] * (TOKENS - 1)


def test_rows_of_the_answer_stay_calibrated_where_that_was_asked_for(
    model_directory: Callable[[str], Path], query_lengths: list[int]
) -> None:
    runner = make_runner(model_directory("llava"), rows="instruction_and_generated")
    depth = len(runner._inference.all_layers.modules)
    query_lengths.clear()
    runner.generate([user(picture(1), "What is in the picture?")])
    assert query_lengths.count(1) == depth * (TOKENS - 1)


class Shapes(TorchDispatchMode):
    """Records the number of elements of every tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for item in made if isinstance(made, tuple | list) else (made,):
            if isinstance(item, Tensor):
                self.sizes.append(item.numel())
        return made


def largest(runner: CalibratedRunner, rows: list[list[Message]], *, calibrate: bool) -> int:
    """Elements of the largest tensor while a batch of prompts is read."""
    options = runner._requests.resolve({"max_new_tokens": 1})
    jobs: list[Job] = [runner._job(row, options, prefix=True, calibrate=calibrate) for row in rows]
    with Shapes() as made:
        runner._inference.answer(jobs)
    return max(made.sizes)


@pytest.mark.parametrize("rows", ["instruction", "instruction_and_generated"])
def test_no_tensor_has_a_score_for_every_head_query_and_key(
    model_directory: Callable[[str], Path], rows: str
) -> None:
    directory = model_directory("llava")
    # As long before the instruction as a prompt with hundreds of image tokens; one row is padded.
    story = Message("system", user("a story of dogs " * 60).parts)
    prompts = [[story, *conversation] for conversation in conversations()[:1] * 2]
    prompts[1] = [*prompts[1][:1], user(picture(2), "Is it red, or what else is it?")]
    runner = make_runner(directory, rows=rows)
    _ = runner.layers
    heads = runner._model.config.get_text_config().num_attention_heads
    tokens = max(runner.count_tokens(prompt) for prompt in prompts)
    every_score = len(prompts) * heads * tokens * tokens
    plain = largest(runner, prompts, calibrate=False)
    calibrated = largest(runner, prompts, calibrate=True)
    assert calibrated < every_score
    assert calibrated <= 1.02 * plain
    # The recorder sees such a tensor if there is one.
    runner._model.get_decoder().set_attn_implementation("eager")
    with torch.inference_mode():
        assert largest(runner, prompts, calibrate=False) >= every_score
