"""Turning calibrated attention on for one model, and off again without a trace.

`calibrated_attention` swaps the decoder's attention implementation and adds one hook;
`find_attention_layers` learns from a short forward which modules calibration can reach.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask, sdpa_mask

from guardalign_middleware.errors import CalibrationError
from guardalign_middleware.generation.attention.forward import (
    ACTIVE_RUN,
    PROBED_MODULES,
    calibrated_attention_forward,
    calibrated_eager_forward,
)
from guardalign_middleware.generation.attention.run import AttentionLayers, CalibrationRun
from guardalign_middleware.generation.model_faults import MODEL_FAULTS, check_memory

# transformers switches behaviour on "sdpa", "flash" or "flex_attention" inside the name.
IMPLEMENTATION = "guardalign_calibrated"
EAGER = "guardalign_calibrated_eager"
_CALIBRATED = {"sdpa": IMPLEMENTATION, "eager": EAGER}

_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


def model_lock(model: nn.Module) -> threading.RLock:
    """The lock under which this model generates; one per model, however many runners share it."""
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(model, threading.RLock())


def find_attention_layers(model: PreTrainedModel, input_ids: Tensor) -> AttentionLayers:
    """Find the decoder's self-attention layers in a short text-only forward.

    Vision towers and cross-attention layers do not run on text, so they are never included. Neither
    are layers that attend with the keys of an earlier layer (Gemma 3n, Gemma 4): nothing reads the
    output of their instruction rows, so calibrating these would change no answer.

    Args:
        model: an image-text-to-text model.
        input_ids: int64 `[1, n]`, a few ordinary words.

    Raises:
        CalibrationError: the model does not run its attention through the attention interface,
            or cannot take text alone.
        OutOfMemory: the device has no memory for it.
    """
    seen: list[tuple[nn.Module, Tensor]] = []
    token = PROBED_MODULES.set(seen)
    try:
        with _implementation(model), torch.inference_mode():
            model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False)
    except MODEL_FAULTS as error:
        check_memory(error)
        raise CalibrationError(
            f"{type(model).__name__} cannot be probed with text alone: {error}.",
            stage="calibration",
            remedy="Use calibrate=False or gamma 0 with this model.",
        ) from error
    finally:
        PROBED_MODULES.reset(token)
    own = _with_own_keys(seen)
    indices = [getattr(module, "layer_idx", None) for module in own]
    if not own or len(set(indices)) != len(indices) or None in indices:
        raise CalibrationError(
            f"{type(model).__name__} has no plain stack of attention layers. Got {indices}.",
            stage="calibration",
            remedy="Use calibrate=False or gamma 0 with this model.",
        )
    return AttentionLayers(tuple(own), tuple(int(i) for i in indices if i is not None))


def _with_own_keys(seen: Sequence[tuple[nn.Module, Tensor]]) -> list[nn.Module]:
    """The modules without those that got the keys of an earlier one."""
    # All keys are alive, so equal addresses are one tensor. Keys on another device are copies;
    # there the module's own flag tells.
    known: set[tuple[torch.device, int]] = set()
    own = []
    for module, keys in seen:
        place = keys.device, keys.data_ptr()
        if place not in known and not getattr(module, "is_kv_shared_layer", False):
            own.append(module)
        known.add(place)
    return own


@contextmanager
def calibrated_attention(
    model: PreTrainedModel, run: CalibrationRun
) -> Iterator[Callable[[], None]]:
    """Calibrate every forward of `model` in this thread; restore the model afterwards.

    Yields a function that restores it earlier. After the prompt has been read, there is nothing
    left to calibrate unless `run.generated` is set. The answer is then decoded by the untouched
    model, with no hook for a compiler to trace.
    """
    with _implementation(model) as restore:
        token = ACTIVE_RUN.set(run)
        try:
            yield restore
        finally:
            ACTIVE_RUN.reset(token)


@contextmanager
def _implementation(model: PreTrainedModel) -> Iterator[Callable[[], None]]:
    decoder = _decoder(model)
    with model_lock(model):
        before = decoder.config._attn_implementation
        if before not in _CALIBRATED:
            raise CalibrationError(
                f"The decoder runs {before!r} attention; only 'sdpa' and 'eager' can be "
                "calibrated.",
                stage="calibration",
                remedy="Load the model with one of these, or use calibrate=False or gamma 0.",
            )
        hook = decoder.register_forward_pre_hook(_before_forward, with_kwargs=True)

        def restore() -> None:
            decoder.set_attn_implementation(before)
            hook.remove()

        try:
            decoder.set_attn_implementation(_CALIBRATED[before])
            yield restore
        finally:
            restore()


def _before_forward(decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    run = ACTIVE_RUN.get()
    if run is None:
        return
    inputs = kwargs.get("inputs_embeds")
    if inputs is None:
        inputs = kwargs.get("input_ids", args[0] if args else None)
    if inputs is None:
        raise CalibrationError("The decoder was called without inputs.", stage="calibration")
    run.begin_forward(inputs.shape[0], inputs.shape[1], kwargs.get("past_key_values"))


def _decoder(model: PreTrainedModel) -> PreTrainedModel:
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    if not isinstance(decoder, PreTrainedModel):
        raise CalibrationError(
            f"{type(model).__name__} has no decoder that can be calibrated.",
            stage="calibration",
            remedy="Use calibrate=False or gamma 0 with this model.",
        )
    return decoder


def _register() -> None:
    register: Callable[[str, Any], None] = AttentionInterface.register
    register(IMPLEMENTATION, calibrated_attention_forward)
    register(EAGER, calibrated_eager_forward)
    # Without a mask function of the same name, the mask is silently None and padding is visible.
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
    AttentionMaskInterface.register(EAGER, eager_mask)


_register()
