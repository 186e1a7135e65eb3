"""Joining prompts that were encoded one by one into one batch.

Each caller encodes its own prompt in its own thread, so the model's thread never waits for pictures
to be resized. For a batch, most processors left-pad the sequences and concatenate the pictures in
reading order. Not all: Molmo2's count pictures through the batch, MiniCPM-V's pack them along the
last axis. `joining.py` checks which do.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from guardalign_middleware.errors import GuardError
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts


def group_of(prompt: EncodedPrompts) -> Hashable:
    """The key that prompts of one batch must share: inputs, shapes and dtypes.

    Args:
        prompt: the prompt of one conversation.
    """
    shape = prompt.inputs["input_ids"].shape
    parts: list[Hashable] = []
    for name, value in sorted(prompt.inputs.items()):
        if not _can_be_joined(value):
            return id(prompt)
        kind = "sequence" if _is_sequence(value, shape) else tuple(value.shape[1:])
        parts.append((name, str(value.dtype), kind))
    return tuple(parts)


def layout_of(prompt: EncodedPrompts) -> Hashable | None:
    """The kinds of a prompt's inputs, whatever their sizes; None if only the family can join them.

    Args:
        prompt: the prompt of one conversation.
    """
    shape = prompt.inputs["input_ids"].shape
    inputs = sorted(prompt.inputs.items())
    if not all(_can_be_joined(value) for _, value in inputs):
        return None
    return tuple(
        (name, str(value.dtype), value.ndim, _is_sequence(value, shape)) for name, value in inputs
    )


def _can_be_joined(value: Any) -> bool:
    # Only the family knows how to join lists and scalars.
    return isinstance(value, Tensor) and value.ndim > 0


def collate(prompts: Sequence[EncodedPrompts], pad_token_id: int) -> EncodedPrompts:
    """Join prompts with the same `group_of` into one batch, left-padded to the longest.

    Args:
        prompts: one conversation each.
        pad_token_id: fills `input_ids`; everything else is filled with zeros.

    Raises:
        GuardError: their groups differ.
    """
    if len(prompts) == 1:
        return prompts[0]
    if len({group_of(prompt) for prompt in prompts}) != 1:
        raise GuardError("These prompts cannot share a batch.", stage="generation")
    length = max(prompt.inputs["input_ids"].shape[1] for prompt in prompts)
    inputs: dict[str, Any] = {}
    for name, first in prompts[0].inputs.items():
        values = [prompt.inputs[name] for prompt in prompts]
        if _is_sequence(first, prompts[0].inputs["input_ids"].shape):
            fill = pad_token_id if name == "input_ids" else 0
            inputs[name] = _left_padded(values, length, fill)
        else:
            inputs[name] = torch.cat(values)
    return EncodedPrompts(
        inputs,
        _left_padded([prompt.prefix_mask for prompt in prompts], length, 0),
        _left_padded([prompt.instruction_mask for prompt in prompts], length, 0),
    )


def _is_sequence(value: Tensor, shape: torch.Size) -> bool:
    return value.shape == shape and not value.is_floating_point()


def _left_padded(values: Sequence[Tensor], length: int, fill: int) -> Tensor:
    return torch.cat(
        [functional.pad(value, (length - value.shape[1], 0), value=fill) for value in values]
    )
