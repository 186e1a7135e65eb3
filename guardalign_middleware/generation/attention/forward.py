"""Cross-modal attentive calibration (paper eqs. 13, 14) for transformers decoders.

Within a band of decoder layers the pre-softmax scores between instruction queries i and prefix
keys j are amplified:

    mode "positive":  Z'(i, j) = (1 + gamma) Z(i, j)               where Z(i, j) > 0
    mode "paper":     Z'(i, j) = Z(i, j) + gamma S(i, j) Z(i, j),  S = max(0, <q_i, k_j>)

Z = scaling * <q, k> is what enters the softmax, after the soft cap where a model has one. The
model's own attention, SDPA or eager, runs for all rows. Then only the calibrated rows are computed
again, with fp32 scores, and written back, so every other row stays bit-identical. The spans are in
a `ContextVar`, so a `generate` on the same model in another thread is not affected.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal, NoReturn, cast

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from guardalign_middleware.errors import CalibrationError
from guardalign_middleware.generation.attention.run import CalibrationRun, Step

# Most scores in memory at once: 64 MiB in fp32, for any length of instruction and prompt.
_MAX_SCORES = 2**24

_UNSUPPORTED = ("s_aux", "position_bias", "cache")
AttentionFunction = Callable[..., tuple[Tensor, Tensor | None]]

ACTIVE_RUN: ContextVar[CalibrationRun | None] = ContextVar(
    "guardalign_calibration_run", default=None
)
PROBED_MODULES: ContextVar[list[tuple[nn.Module, Tensor]] | None] = ContextVar(
    "guardalign_probed_modules", default=None
)
"""Collects the attention modules of a forward, each with its keys."""


def amplify_scores(
    scores: Tensor, dots: Tensor, gamma: Tensor, prefix: Tensor, mode: Literal["positive", "paper"]
) -> Tensor:
    """The amplified scores Z' (paper eqs. 13, 14; see the top of this module).

    Args:
        scores: Z, `[B, H, R, Lk]`, what would enter the softmax.
        dots: <q, k>, the same shape; used by mode "paper".
        gamma: strength per row of the batch, broadcastable to `scores`.
        prefix: bool, broadcastable to `scores`: which keys are safety prefix.
        mode: "positive" or "paper".

    With one query, three keys and the first two of them safety prefix:

    >>> z = torch.tensor([2.0, -1.0, 3.0])
    >>> amplify_scores(z, 4 * z, torch.tensor(0.5), torch.tensor([True, True, False]), "positive")
    tensor([ 3., -1.,  3.])
    """
    gain = scores.relu() if mode == "positive" else dots.relu() * scores
    return scores + gamma * gain * prefix


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
    """SDPA for every row, then calibrated attention for the rows of the active `CalibrationRun`.

    Args:
        module: the attention module.
        query: `[B, H, Lq, D]` after the rotary embedding.
        key: `[B, Hkv, Lk, D]` with the cache, heads not repeated.
        value: `[B, Hkv, Lk, Dv]`.
        attention_mask: bool or additive, broadcastable to `[B, H, Lq, Lk]`; None means causal.
        dropout: passed to SDPA.
        scaling: factor of <q, k>; `D ** -0.5` when None.
        **kwargs: passed to SDPA.

    Returns:
        The output `[B, Lq, H, Dv]` and None for the weights.

    Raises:
        CalibrationError: this kind of attention cannot be calibrated.
    """
    if kwargs.get("softcap") is not None:
        _refuse(module, ["a soft cap, which SDPA ignores"])
    base = cast(AttentionFunction, sdpa_attention_forward)
    # The rule of `sdpa_attention_forward` for a call without a mask.
    causal = kwargs.get("is_causal")
    causal = bool(getattr(module, "is_causal", True) if causal is None else causal)
    return _base_then_rows(
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
    """`calibrated_attention_forward` over the eager attention of the module's own family.

    For models with a soft cap, which no fused kernel of torch supports.
    """
    base = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if base is None:
        _refuse(module, ["an eager attention of its own"])
    return _base_then_rows(
        base, False, module, query, key, value, attention_mask, dropout, scaling, kwargs
    )


def _base_then_rows(
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
    probe = PROBED_MODULES.get()
    if probe is not None:
        _check_supported(module, kwargs)
        probe.append((module, key))
    run = ACTIVE_RUN.get()
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

    In an observed layer, also record the attention of these rows to the prefix, calibrated or not.
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
            gamma = strength[:, None, None, None]
            scores = amplify_scores(scores, dots, gamma, columns, run.mode)
        reach = columns
        if causal or attention_mask is not None:
            scores, allowed = _masked(scores, attention_mask, part.index, positions, step.offset)
            reach = columns & allowed
        if strength is not None and step.instructions:
            near = reach.any(dim=-1).any(dim=1).expand(batch, rows)[part.at_batch, part.at_row]
            run.record_reach(layer, part.at_batch, near)
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
            # A row of strength 0 stays bit-identical.
            used = strength[at_batch] > 0.0
            at_batch, at_row, at_query = at_batch[used], at_row[used], at_query[used]
        output[at_batch, at_query] = rows_out[at_batch, at_row].to(output.dtype)


def _masked(
    scores: Tensor, mask: Tensor | None, index: Tensor, positions: Tensor, offset: int
) -> tuple[Tensor, Tensor]:
    """`scores` `[B, H, R, Lk]` with -inf (or the additive mask) where the model may not attend.

    Also where it may, bool, broadcastable to the scores.
    """
    if mask is None:
        allowed = positions[None, None, None, :] <= (index + offset)[:, None, :, None]
        return scores.masked_fill(~allowed, float("-inf")), allowed
    batch, _, rows, key_length = scores.shape
    mask = mask[..., :key_length].expand(batch, -1, -1, -1)
    at = index[:, None, :, None].expand(batch, mask.shape[1], rows, key_length)
    picked = mask.gather(2, at)
    if picked.dtype == torch.bool:
        return scores.masked_fill(~picked, float("-inf")), picked
    # An additive mask hides with -inf or with the dtype's lowest number.
    return scores + picked, picked > torch.finfo(picked.dtype).min / 2
