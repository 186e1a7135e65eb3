"""Calibrated attention equals the oracle where it should and the plain model everywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from benchmarks.generation.dense_attention import dense_attention
from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.errors import CalibrationError
from guardalign_middleware.generation.attention import forward as attention_module
from guardalign_middleware.generation.attention.forward import (
    calibrated_attention_forward,
)
from guardalign_middleware.generation.attention.run import AttentionLayers, CalibrationRun

MODES = ["positive", "paper"]


class Attention(nn.Module):
    layer_idx = 0
    is_causal = True

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


@contextmanager
def active(run: CalibrationRun) -> Iterator[None]:
    token = attention_module.ACTIVE_RUN.set(run)
    try:
        yield
    finally:
        attention_module.ACTIVE_RUN.reset(token)


def single_layer(module: nn.Module) -> AttentionLayers:
    return AttentionLayers((module,), (0,))


def masks(batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Different spans per row; the last row has none."""
    prefix = torch.zeros(batch, length, dtype=torch.bool)
    instruction = torch.zeros(batch, length, dtype=torch.bool)
    for row in range(batch - 1):
        prefix[row, 2 + row : 5 + row] = True
        instruction[row, 7 + row : 9 + 2 * row] = True
    return prefix, instruction


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("masked", ["causal", "bool", "additive"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12), (torch.bfloat16, 2e-2)]
)
def test_rows_equal_the_oracle_and_the_rest_is_bit_identical(
    mode: str, groups: int, masked: str, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    batch, kv_heads, length, width = 3, 2, 16, 8
    query = torch.randn(batch, kv_heads * groups, length, width).to(dtype)
    key = torch.randn(batch, kv_heads, length, width).to(dtype)
    value = torch.randn(batch, kv_heads, length, width).to(dtype)
    allowed = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
    if masked != "causal":
        window = torch.ones(length, length, dtype=torch.bool).triu(-6)
        allowed = (allowed & window).repeat(batch, 1, 1, 1)
    mask = {
        "causal": None,
        "bool": allowed,
        "additive": torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, float("-inf")),
    }[masked]
    prefix, instruction = masks(batch, length)
    module = Attention(groups)
    config = CalibrationConfig.model_validate({"gamma": 0.7, "mode": mode})
    run = CalibrationRun(prefix, instruction, config, single_layer(module))
    run.begin_forward(batch, length, None)
    with active(run):
        got, _ = calibrated_attention_forward(module, query, key, value, mask, scaling=0.4)
    plain, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.4)
    where = instruction[:, :, None] & prefix[:, None, :]
    expected = dense_attention(
        query, key, value, allowed, scaling=0.4, where=where, gamma=0.7, mode=mode
    )
    assert torch.equal(got[~instruction], plain[~instruction])
    torch.testing.assert_close(
        got[instruction].double(), expected[instruction], rtol=0, atol=tolerance
    )
    moved = (got[instruction] - plain[instruction]).abs().amax(dim=(1, 2))
    assert (moved > 1e-3).any()
    assert run.observed_layers() == (0,)


def test_an_unmasked_decode_step_reads_the_whole_past() -> None:
    torch.manual_seed(0)
    query, keys = torch.randn(1, 2, 1, 8), torch.randn(1, 2, 17, 8)
    prefix, instruction = torch.zeros(2, 1, 16, dtype=torch.bool)
    prefix[0, 2:6], instruction[0, 9:12] = True, True
    module = Attention(1)
    config = CalibrationConfig(gamma=0.7, rows="instruction_and_generated")
    run = CalibrationRun(prefix, instruction, config, single_layer(module))
    cache = DynamicCache()
    cache.update(keys[:, :, :16], keys[:, :, :16], 0)
    run.begin_forward(1, 1, cache)
    with active(run):
        got, _ = calibrated_attention_forward(module, query, keys, keys, None, scaling=0.4)
    expected = dense_attention(
        query,
        keys,
        keys,
        torch.ones(1, 1, 1, 17, dtype=torch.bool),
        scaling=0.4,
        where=torch.nn.functional.pad(prefix, (0, 1))[:, None],
        gamma=0.7,
        mode="positive",
    )
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-5)


def test_many_rows_in_blocks_equal_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 40, 8).unbind(0)
    prefix = torch.zeros(1, 40, dtype=torch.bool)
    prefix[0, :5] = True
    module = Attention(1)
    outputs = []
    for limit in (2**24, 2 * 40 * 7):
        monkeypatch.setattr(attention_module, "_MAX_SCORES", limit)
        run = CalibrationRun(prefix, ~prefix, CalibrationConfig(), single_layer(module))
        run.begin_forward(1, 40, None)
        with active(run):
            outputs.append(calibrated_attention_forward(module, query, key, value, None)[0])
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["softcap", "s_aux", "position_bias"])
def test_unknown_kinds_of_attention_fail_closed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        attention_module, "sdpa_attention_forward", lambda m, q, *a, **k: (q.clone(), None)
    )
    module = Attention(1)
    prefix, instruction = masks(2, 16)
    run = CalibrationRun(prefix, instruction, CalibrationConfig(), single_layer(module))
    run.begin_forward(2, 16, None)
    states = torch.randn(2, 2, 16, 8)
    extra: dict[str, Any] = {kind: torch.tensor(1.0)}
    with active(run), pytest.raises(CalibrationError, match="cannot be calibrated"):
        calibrated_attention_forward(module, states, states, states, None, **extra)


def test_keys_that_do_not_match_the_cache_fail_closed() -> None:
    module = Attention(1)
    prefix, instruction = masks(2, 16)
    run = CalibrationRun(prefix, instruction, CalibrationConfig(), single_layer(module))
    run.begin_forward(2, 16, None)
    query, key = torch.randn(2, 2, 16, 8), torch.randn(2, 2, 20, 8)
    with active(run), pytest.raises(CalibrationError, match="16 keys. Got 20"):
        calibrated_attention_forward(module, query, key, key, None)


def test_bidirectional_attention_without_a_mask_sees_everything() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 16, 8).unbind(0)
    prefix, instruction = masks(2, 16)
    module = Attention(1)
    module.is_causal = False
    run = CalibrationRun(prefix, instruction, CalibrationConfig(gamma=0.7), single_layer(module))
    run.begin_forward(2, 16, None)
    with active(run):
        got, _ = calibrated_attention_forward(module, query, key, value, None, scaling=0.4)
    where = instruction[:, :, None] & prefix[:, None, :]
    everything = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    expected = dense_attention(
        query, key, value, everything, scaling=0.4, where=where, gamma=0.7, mode="positive"
    )
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-5)
