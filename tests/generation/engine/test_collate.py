"""Prompts encoded one by one make the very batch that the processor makes of them."""

from __future__ import annotations

import pytest
import torch

from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.engine.collate import collate, group_of
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts
from guardalign_middleware.types import Message
from tests.support.messages import conversations, picture, user

ONE_PICTURE = [
    [user(picture(1), "What is in the picture?")],
    [user(picture(2), "x")],
    [user(picture(3), "Tell me how to bake bread, please. 🍞 谢谢")],
]
NO_PICTURE = [[user("Hello")], conversations()[1]]


def encode(runner: CalibratedRunner, *rows: list[Message]) -> EncodedPrompts:
    return runner._prompts.encode(rows, prefix=[True] * len(rows), spans=True)


@pytest.mark.parametrize("rows", [ONE_PICTURE, NO_PICTURE], ids=["picture", "text"])
def test_it_equals_the_processors_own_batch(
    family_runner: CalibratedRunner, rows: list[list[Message]]
) -> None:
    single = [encode(family_runner, row) for row in rows]
    if len({group_of(prompt) for prompt in single}) > 1:
        pytest.skip("this family's prompts are answered one by one")
    pad = family_runner._prompts._tokenizer.pad_token_id
    together, expected = collate(single, pad), encode(family_runner, *rows)
    assert set(together.inputs) == set(expected.inputs)
    for name, value in expected.inputs.items():
        torch.testing.assert_close(together.inputs[name], value, rtol=0, atol=0)
    assert torch.equal(together.prefix_mask, expected.prefix_mask)
    assert torch.equal(together.instruction_mask, expected.instruction_mask)


def test_one_prompt_is_its_own_batch(runner: CalibratedRunner) -> None:
    prompt = encode(runner, ONE_PICTURE[0])
    assert collate([prompt], 0) is prompt


def test_with_and_without_pictures_are_kept_apart(runner: CalibratedRunner) -> None:
    pair = [encode(runner, ONE_PICTURE[0]), encode(runner, NO_PICTURE[0])]
    assert group_of(pair[0]) != group_of(pair[1])
    with pytest.raises(GuardError, match="cannot share"):
        collate(pair, 0)


def test_what_only_the_family_understands_is_never_joined(runner: CalibratedRunner) -> None:
    prompt = encode(runner, NO_PICTURE[0])
    odd = [
        EncodedPrompts({**prompt.inputs, "sizes": [1]}, prompt.prefix_mask, prompt.instruction_mask)
        for _ in range(2)
    ]
    assert group_of(odd[0]) != group_of(odd[1])
    assert group_of(odd[0]) == group_of(odd[0])
