"""A deeper miniature that says, to begin with, exactly what a shallower one says."""

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
    """Where each of `shallow` layers stands among `deep`; the first and the last stay so.

    Raises:
        ValueError: there is no room, or nothing between first and last.
    """
    if not 2 <= shallow <= deep:
        raise ValueError(f"shallow should be in 2..deep={deep}. Received {shallow}.")
    return [round(index * (deep - 1) / (shallow - 1)) for index in range(shallow)]


def grow(state: dict[str, Tensor], form: Form, *, base: Form = SHIPPED) -> Model:
    """A model of `form` that computes the same function of the words that `base` knows.

    Layers are put between those of `base`; they read, but write nothing until they are trained.
    The words that are new get random embeddings.

    Args:
        state: the parameters of a model of `base`.
        form: no fewer layers and words than `base`.
        base: what `state` is the state of.

    Raises:
        ValueError: `form` has fewer layers.
    """
    model = untrained(form)
    grown = model.state_dict()
    where = dict(enumerate(places(base.layers, form.layers)))
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
