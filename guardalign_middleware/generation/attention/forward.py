"""Cross-modal attentive calibration (paper eqs. 13, 14) for transformers decoders.

Within a band of decoder layers the pre-softmax scores between instruction queries i and prefix
keys j are amplified:

    mode "positive":  Z'(i, j) = (1 + gamma) Z(i, j)               where Z(i, j) > 0
    mode "paper":     Z'(i, j) = Z(i, j) + gamma S(i, j) Z(i, j),  S = max(0, <q_i, k_j>)

Z = scaling * <q, k> is what enters the softmax, after the soft cap where a model has one. The
model's own attention, SDPA or eager, runs for all rows; then only the calibrated rows are computed
again, with fp32 scores, and written back, so every other row stays bit-identical. The spans live in
a `ContextVar`: a `generate` in another thread, on the same model, sees none.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from guardalign_middleware.errors import CalibrationError
from guardalign_middleware.generation.attention.run import AttentionLayers, CalibrationRun, Step

# transformers switches behaviour on "sdpa", "flash" or "flex_attention" inside the name.
IMPLEMENTATION = "guardalign_calibrated"
EAGER = "guardalign_calibrated_eager"
_CALIBRATED = {"sdpa": IMPLEMENTATION, "eager": EAGER}

# Scores held at once: 64 MiB in fp32, whatever the length of instruction and prompt.
_MAX_SCORES = 2**24

_UNSUPPORTED = ("s_aux", "position_bias", "cache")
AttentionFunction = Callable[..., tuple[Tensor, Tensor | None]]
_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


_RUN: ContextVar[CalibrationRun | None] = ContextVar("guardalign_calibration_run", default=None)
_PROBE: ContextVar[list[nn.Module] | None] = ContextVar("guardalign_probe", default=None)


def calibrated_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """SDPA for every row; the rows of the active `CalibrationRun` once more, calibrated.

    Args:
        module: the attention module.
        query: `[B, H, Lq, D]` after the rotary embedding.
        key: `[B, Hkv, Lk, D]` with the cache, heads not repeated.
        value: `[B, Hkv, Lk, Dv]`.
        attention_mask: bool or additive, broadcastable to `[B, H, Lq, Lk]`; None means causal.
        dropout: passed on.
        scaling: factor of <q, k>; `D ** -0.5` when None.
        **kwargs: passed on.

    Returns:
        The output `[B, Lq, H, Dv]` and None for the weights.

    Raises:
        CalibrationError: the module's attention is of a kind that cannot be calibrated.
    """
    if kwargs.get("softcap") is not None:
        _refuse(module, ["a soft cap, which SDPA ignores"])
    base = cast(AttentionFunction, sdpa_attention_forward)
    # As SDPA decides it, where no mask says what may be attended to.
    causal = kwargs.get("is_causal")
    causal = bool(getattr(module, "is_causal", True) if causal is None else causal)
    return _calibrated(
        base, causal, module, query, key, value, attention_mask, dropout, scaling, kwargs
    )


def calibrated_eager_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """As `calibrated_attention_forward`, over the eager attention of the module's own family.

    For models with a soft cap, which no fused kernel of torch knows.
    """
    base = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if base is None:
        _refuse(module, ["an eager attention of its own"])
    return _calibrated(
        base, False, module, query, key, value, attention_mask, dropout, scaling, kwargs
    )


def _calibrated(
    base: AttentionFunction,
    causal: bool,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float,
    scaling: float | None,
    kwargs: dict[str, Any],
) -> tuple[Tensor, None]:
    output, _ = base(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )
    probe = _PROBE.get()
    if probe is not None:
        _check_supported(module, kwargs)
        probe.append(module)
    run = _RUN.get()
    active = run.step_for(module) if run is not None else None
    if run is None or active is None:
        return output, None
    _check_supported(module, kwargs)
    step, layer = active
    length, _ = step.keys[layer]
    if key.shape[2] != length:
        raise CalibrationError(
            f"Layer {layer} should see {length} keys. Got {key.shape[2]}.", stage="calibration"
        )
    if run.calibrates(layer) or run.observes(layer):
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        _write_rows(
            output,
            query,
            key,
            value,
            attention_mask,
            causal=causal,
            scaling=scaling,
            softcap=kwargs.get("softcap"),
            run=run,
            step=step,
            layer=layer,
        )
    run.record(layer, step.instructions)
    return output, None


def _check_supported(module: nn.Module, kwargs: dict[str, Any]) -> None:
    found = [name for name in _UNSUPPORTED if kwargs.get(name) is not None]
    if found:
        _refuse(module, found)


def _refuse(module: nn.Module, found: list[str]) -> NoReturn:
    raise CalibrationError(
        f"{type(module).__name__} uses {', '.join(found)}, which cannot be calibrated.",
        stage="calibration",
        remedy="Use calibrate=False or gamma 0 with this model.",
    )


def _write_rows(
    output: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    causal: bool,
    scaling: float,
    softcap: float | None,
    run: CalibrationRun,
    step: Step,
    layer: int,
) -> None:
    """Overwrite the rows of `step` in `output` (`[B, Lq, H, Dv]`) with calibrated attention.

    Where the layer is observed, what the rows pay the prefix is recorded, calibrated or not.
    """
    batch, heads, _, _ = query.shape
    kv_heads, key_length = key.shape[1], key.shape[2]
    first_key = step.keys[layer][1]
    columns = run.prefix_columns(first_key, key_length, query.device)[:, None, None, :]
    exact = torch.promote_types(query.dtype, torch.float32)
    strength = run.strength(query.device, exact) if run.calibrates(layer) else None
    keys, values = key.to(exact).transpose(2, 3), value.to(exact)
    positions = torch.arange(first_key, first_key + key_length, device=query.device)
    size = max(1, _MAX_SCORES // (batch * heads * key_length))
    for part in step.blocks(size, query.device):
        rows = part.index.shape[1]
        gather = part.index[:, None, :, None].expand(batch, heads, rows, query.shape[-1])
        # Query heads that share a key head are neighbours, so a reshape groups them.
        grouped = query.gather(2, gather).to(exact).reshape(batch, kv_heads, -1, query.shape[-1])
        dots = (grouped @ keys).view(batch, heads, rows, key_length)
        scores = dots * scaling
        if softcap is not None:
            scores = (scores / softcap).tanh() * softcap
        if strength is not None:
            gain = scores.relu() if run.mode == "positive" else dots.relu() * scores
            scores = scores + strength[:, None, None, None] * gain * columns
        if causal or attention_mask is not None:
            scores = _masked(scores, attention_mask, part.index, positions, step.offset)
        weights = scores.softmax(dim=-1)
        if run.observes(layer):
            share = (weights * columns).sum(dim=-1).mean(dim=1)[part.at_batch, part.at_row]
            run.record_attention(layer, part.at_batch, part.at_query + step.offset, share)
        if strength is None:
            continue
        grouped_weights = weights.view(batch, kv_heads, -1, key_length)
        rows_out = (grouped_weights @ values).view(batch, heads, rows, -1).transpose(1, 2)
        at_batch, at_row, at_query = part.at_batch, part.at_row, part.at_query
        if run.some_are_plain:
            # A row of strength 0 keeps its bits.
            used = strength[at_batch] > 0.0
            at_batch, at_row, at_query = at_batch[used], at_row[used], at_query[used]
        output[at_batch, at_query] = rows_out[at_batch, at_row].to(output.dtype)


def _masked(
    scores: Tensor, mask: Tensor | None, index: Tensor, positions: Tensor, offset: int
) -> Tensor:
    """`scores` `[B, H, R, Lk]` with -inf (or the additive mask) where the model may not attend."""
    if mask is None:
        allowed = positions[None, None, None, :] <= (index + offset)[:, None, :, None]
        return scores.masked_fill(~allowed, float("-inf"))
    batch, _, rows, key_length = scores.shape
    mask = mask[..., :key_length].expand(batch, -1, -1, -1)
    at = index[:, None, :, None].expand(batch, mask.shape[1], rows, key_length)
    picked = mask.gather(2, at)
    if picked.dtype == torch.bool:
        return scores.masked_fill(~picked, float("-inf"))
    return scores + picked


def model_lock(model: nn.Module) -> threading.RLock:
    """The lock under which this model generates; the same for everybody who holds the model."""
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(model, threading.RLock())


def find_attention_layers(model: PreTrainedModel, input_ids: Tensor) -> AttentionLayers:
    """The decoder's self-attention layers, observed in a short text-only forward.

    Vision towers and cross-attention layers do not run on text and so are never found.

    Args:
        model: an image-text-to-text model.
        input_ids: int64 `[1, n]`, a few ordinary words.

    Raises:
        CalibrationError: the model does not run its attention through the attention interface,
            or cannot take text alone.
    """
    seen: list[nn.Module] = []
    token = _PROBE.set(seen)
    try:
        with _implementation(model), torch.inference_mode():
            model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CalibrationError(
            f"{type(model).__name__} cannot be probed with text alone: {error}.",
            stage="calibration",
            remedy="Use calibrate=False or gamma 0 with this model.",
        ) from error
    finally:
        _PROBE.reset(token)
    indices = [getattr(module, "layer_idx", None) for module in seen]
    if not seen or len(set(indices)) != len(indices) or None in indices:
        raise CalibrationError(
            f"{type(model).__name__} shows no plain stack of attention layers. Got {indices}.",
            stage="calibration",
            remedy="Use calibrate=False or gamma 0 with this model.",
        )
    return AttentionLayers(tuple(seen), tuple(int(i) for i in indices if i is not None))


@contextmanager
def calibrated_attention(
    model: PreTrainedModel, run: CalibrationRun
) -> Iterator[Callable[[], None]]:
    """Calibrate every forward of `model` in this thread; leave the model as it was afterwards.

    Gives a function that ends it earlier. Once the prompt is read, only `run.generated` leaves
    anything to calibrate: without it, generating takes the path of a model nobody ever touched,
    with no hook in it and nothing that a compiler would have to trace.
    """
    with _implementation(model) as restore:
        token = _RUN.set(run)
        try:
            yield restore
        finally:
            _RUN.reset(token)


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
    run = _RUN.get()
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
    # Without a mask function of the same name the mask is silently None: padding would be read.
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
    AttentionMaskInterface.register(EAGER, eager_mask)


_register()
