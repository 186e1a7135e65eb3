"""A deeper miniature that starts out with exactly the answers of a shallower one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.llava.package import SHIPPED, Form, untrained

# A LlavaForConditionalGeneration; its parts carry no types.
Model = Any
_LAYERS = "model.language_model.layers."
_WRITERS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
_WORDS = ("model.language_model.embed_tokens.weight", "lm_head.weight")


def places(shallow: int, deep: int) -> list[int]:
    """Positions of `shallow` layers among `deep`; the first and the last stay first and last.

    Raises:
        ValueError: `shallow` is below 2 or above `deep`.
    """
    if not 2 <= shallow <= deep:
        raise ValueError(f"shallow should be in 2..deep={deep}. Received {shallow}.")
    return [round(index * (deep - 1) / (shallow - 1)) for index in range(shallow)]


def grow(state: dict[str, Tensor], form: Form) -> Model:
    """A model of `form` that computes the same function of the words of the shipped form.

    New layers are inserted between the shipped ones; their output projections are 0 at first. New
    words get random embeddings.

    Args:
        state: parameters of a model of the shipped form.
        form: at least as many layers and words.

    Raises:
        ValueError: `form` has fewer layers.
    """
    model = untrained(form)
    grown = model.state_dict()
    where = dict(enumerate(places(SHIPPED.layers, form.layers)))
    for name, value in grown.items():
        if name.startswith(_LAYERS) and name.endswith(_WRITERS):
            value.zero_()
    for name, value in state.items():
        if name.startswith(_LAYERS):
            layer, rest = name.removeprefix(_LAYERS).split(".", 1)
            grown[f"{_LAYERS}{where[int(layer)]}.{rest}"].copy_(value)
        elif name in _WORDS:
            grown[name][: len(value)] = value
            more = grown[name][len(value) :]
            more.copy_(torch.randn_like(more) * value.std())
        else:
            grown[name].copy_(value)
    model.load_state_dict(grown)
    return model
