"""Calibrated attention equals the oracle where it should and the plain model everywhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.errors import CalibrationError
from guardalign_middleware.generation import attention as attention_module
from guardalign_middleware.generation.attention import (
    calibrated_attention,
    calibrated_attention_forward,
    find_attention_layers,
    model_lock,
)
from guardalign_middleware.generation.calibration import AttentionLayers, CalibrationRun
from guardalign_middleware.generation.spans import EncodedPrompts, PromptEncoder
from tests.generation.conftest import conversations
from tests.generation.oracle import dense_attention, oracle
from tests.tiny_models import FAMILIES

MODES = ["positive", "paper"]


class Attention(nn.Module):
    layer_idx = 0
    is_causal = True

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


@contextmanager
def active(run: CalibrationRun) -> Iterator[None]:
    token = attention_module._RUN.set(run)
    try:
        yield
    finally:
        attention_module._RUN.reset(token)


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


@pytest.mark.parametrize("kind", ["softcap", "s_aux", "position_bias", "is_causal"])
def test_unknown_kinds_of_attention_fail_closed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        attention_module, "sdpa_attention_forward", lambda m, q, *a, **k: (q.clone(), None)
    )
    module = Attention(1)
    prefix, instruction = masks(2, 16)
    run = CalibrationRun(prefix, instruction, CalibrationConfig(), single_layer(module))
    run.begin_forward(2, 16, None)
    states = torch.randn(2, 2, 16, 8)
    extra: dict[str, Any] = {kind: False if kind == "is_causal" else torch.tensor(1.0)}
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


class Family:
    """A tiny model in float64 with a batch of prompts of different length."""

    def __init__(self, directory: Path) -> None:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(directory)
        self.model = loaded.double().eval()
        processor: Any = AutoProcessor.from_pretrained(directory)  # type: ignore[no-untyped-call]
        encoder = PromptEncoder(
            processor, prefix="I must be helpful and harmless.", placement="before_instruction"
        )
        self.prompts: EncodedPrompts = encoder.encode(
            conversations(), prefix=[True, True, True, False], spans=True
        )
        self.inputs = {
            k: v.double() if v.is_floating_point() else v for k, v in self.prompts.inputs.items()
        }
        probe = processor.tokenizer("hello there", return_tensors="pt")["input_ids"]
        self.special_ids = processor.tokenizer.convert_tokens_to_ids(list(encoder.control_tokens))
        self.all_layers = find_attention_layers(self.model, probe)
        self.layers = self.all_layers.band(0.3, 0.7)

    def run(self, **changes: Any) -> CalibrationRun:
        config = CalibrationConfig.model_validate({"gamma": 0.8, **changes})
        prompts = self.prompts
        return CalibrationRun(prompts.prefix_mask, prompts.instruction_mask, config, self.layers)

    @torch.inference_mode()
    def forward(self, **more: Any) -> Any:
        return self.model(**{**self.inputs, "use_cache": False, **more})


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest, model_directory: Callable[[str], Path]) -> Family:
    return Family(model_directory(request.param))


@pytest.fixture(scope="module")
def llava(model_directory: Callable[[str], Path]) -> Family:
    return Family(model_directory("llava"))


def real(logits: Tensor, family: Family) -> Tensor:
    """Padding rows attend to nothing and mean nothing."""
    return logits[family.inputs["attention_mask"].bool()]


def test_the_probe_finds_every_decoder_layer_and_nothing_else(family: Family) -> None:
    assert family.all_layers.indices == (0, 1, 2, 3)
    decoder = set(map(id, family.model.get_decoder().modules()))
    assert all(id(module) in decoder for module in family.all_layers.modules)
    assert family.layers.indices == (1, 2)


@pytest.mark.parametrize("mode", MODES)
def test_prefill_equals_the_oracle(family: Family, mode: str) -> None:
    run = family.run(mode=mode)
    with calibrated_attention(family.model, run):
        got = family.forward().logits
    prompts = family.prompts
    with oracle(
        family.model,
        prompts.instruction_mask,
        prompts.prefix_mask,
        {1, 2},
        gamma=0.8,
        mode=mode,
    ):
        expected = family.forward().logits
    torch.testing.assert_close(real(got, family), real(expected, family), rtol=0, atol=1e-9)
    plain = family.forward().logits
    assert (real(got, family) - real(plain, family)).abs().max() > 1e-6
    assert run.observed_layers() == (1, 2)


def test_only_instruction_rows_of_calibrated_layers_change(family: Family) -> None:
    with calibrated_attention(family.model, family.run()):
        got = family.forward(output_hidden_states=True).hidden_states
    plain = family.forward(output_hidden_states=True).hidden_states
    instruction = family.prompts.instruction_mask
    assert torch.equal(got[0], plain[0])
    assert torch.equal(got[1], plain[1])
    # Layer 1 is the first of the band: its output differs in instruction rows only.
    assert torch.equal(got[2][~instruction], plain[2][~instruction])
    changed = (got[2] != plain[2]).any(dim=-1)
    assert bool(changed[instruction].all())
    # Whatever stands before the instruction never changes, at any depth.
    before = instruction.cumsum(dim=1) == 0
    for deep, flat in zip(got, plain, strict=True):
        assert torch.equal(deep[before], flat[before])


def test_gamma_zero_is_bit_identical(family: Family) -> None:
    run = family.run(gamma=0.0)
    with calibrated_attention(family.model, run):
        got = family.forward().logits
    assert torch.equal(got, family.forward().logits)
    assert run.observed_layers() == (1, 2)


@pytest.mark.parametrize("rows", ["instruction", "instruction_and_generated"])
def test_cached_generation_equals_the_uncached_oracle(family: Family, rows: str) -> None:
    steps = 6
    run = family.run(rows=rows)
    options: dict[str, Any] = {
        "max_new_tokens": steps,
        "min_new_tokens": steps,
        # A random model would write image tokens, which no image belongs to.
        "suppress_tokens": family.special_ids,
        "do_sample": False,
        "output_logits": True,
        "return_dict_in_generate": True,
    }
    with calibrated_attention(family.model, run), torch.inference_mode():
        out = family.model.generate(**family.inputs, **options)
    length = family.inputs["input_ids"].shape[1]
    grown = {**family.inputs, "input_ids": out.sequences}
    for name in ("attention_mask", "mm_token_type_ids", "token_type_ids"):
        if name in grown:
            fill = 1 if name == "attention_mask" else 0
            grown[name] = nn.functional.pad(grown[name], (0, steps), value=fill)
    more = (0, steps)
    row_mask = nn.functional.pad(family.prompts.instruction_mask, more)
    if rows == "instruction_and_generated":
        row_mask[:, length:] = True
    column_mask = nn.functional.pad(family.prompts.prefix_mask, more)
    with (
        oracle(family.model, row_mask, column_mask, {1, 2}, gamma=0.8, mode="positive"),
        torch.inference_mode(),
    ):
        expected = family.model(**grown, use_cache=False).logits[:, length - 1 : -1]
    got = torch.stack(out.logits, dim=1)
    torch.testing.assert_close(got, expected.to(got.dtype), rtol=0, atol=1e-4)


def test_chunked_prefill_equals_one_forward(llava: Family) -> None:
    text = llava.model.get_decoder()
    torch.manual_seed(0)
    embeds = torch.randn(4, llava.inputs["input_ids"].shape[1], 32, dtype=torch.float64)
    mask = llava.inputs["attention_mask"]
    with torch.inference_mode():
        run = llava.run()
        with calibrated_attention(llava.model, run):
            whole = text(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        cache, parts, chunked = DynamicCache(config=text.config), [], llava.run()
        with calibrated_attention(llava.model, chunked):
            for start in range(0, embeds.shape[1], 17):
                end = min(start + 17, embeds.shape[1])
                parts.append(
                    text(
                        inputs_embeds=embeds[:, start:end],
                        attention_mask=mask[:, :end],
                        past_key_values=cache,
                    ).last_hidden_state
                )
    got = torch.cat(parts, dim=1)
    torch.testing.assert_close(real(got, llava), real(whole, llava), rtol=0, atol=1e-9)
    assert chunked.observed_layers() == run.observed_layers() == (1, 2)


def test_a_static_cache_gives_the_same_tokens(llava: Family) -> None:
    tokens = []
    for kind in (None, "static"):
        run = llava.run(rows="instruction_and_generated")
        with calibrated_attention(llava.model, run), torch.inference_mode():
            tokens.append(
                llava.model.generate(
                    **llava.inputs, max_new_tokens=5, do_sample=False, cache_implementation=kind
                )
            )
        assert run.observed_layers() == (1, 2)
    assert torch.equal(tokens[0], tokens[1])


def untouched(model: Any) -> bool:
    decoder = model.get_decoder()
    names = {
        module.config._attn_implementation
        for module in decoder.modules()
        if hasattr(module, "config") and hasattr(module.config, "_attn_implementation")
    }
    return names == {"sdpa"} and not decoder._forward_pre_hooks


def test_nothing_stays_on_the_model(llava: Family) -> None:
    vision = llava.model.model.vision_tower.config
    with calibrated_attention(llava.model, llava.run()):
        assert not untouched(llava.model)
        assert vision._attn_implementation == "sdpa"
    assert untouched(llava.model)

    def fail() -> None:
        with calibrated_attention(llava.model, llava.run()):
            raise KeyboardInterrupt

    pytest.raises(KeyboardInterrupt, fail)
    assert untouched(llava.model)
    assert attention_module._RUN.get() is None


def test_another_thread_on_the_same_model_sees_no_calibration(llava: Family) -> None:
    plain = llava.forward().logits
    seen: list[Tensor] = []
    with calibrated_attention(llava.model, llava.run()):
        thread = threading.Thread(target=lambda: seen.append(llava.forward().logits))
        thread.start()
        thread.join()
        calibrated = llava.forward().logits
    assert torch.equal(seen[0], plain)
    assert not torch.equal(calibrated, plain)


def test_a_decoder_without_sdpa_is_refused(llava: Family) -> None:
    decoder = llava.model.get_decoder()
    decoder.set_attn_implementation("eager")
    try:
        with pytest.raises(CalibrationError, match="'eager'"):
            find_attention_layers(llava.model, torch.ones(1, 3, dtype=torch.int64))
    finally:
        decoder.set_attn_implementation("sdpa")


def test_a_model_that_cannot_read_text_alone_is_refused(
    llava: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*args: Any, **kwargs: Any) -> None:
        raise ValueError("pixel_values are required")

    monkeypatch.setattr(llava.model, "forward", forward)
    with pytest.raises(CalibrationError, match="pixel_values are required"):
        find_attention_layers(llava.model, torch.ones(1, 3, dtype=torch.int64))
    assert untouched(llava.model)


def test_one_lock_per_model(llava: Family) -> None:
    assert model_lock(llava.model) is model_lock(llava.model)
    assert model_lock(llava.model) is not model_lock(nn.Identity())
