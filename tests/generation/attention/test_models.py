"""Calibration inside whole models: the oracle's logits where it acts, the plain ones elsewhere."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, DynamicCache

from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.errors import CalibrationError
from guardalign_middleware.generation.attention.activate import (
    calibrated_attention,
    find_attention_layers,
    model_lock,
)
from guardalign_middleware.generation.attention.forward import ACTIVE_RUN
from guardalign_middleware.generation.attention.run import CalibrationRun
from guardalign_middleware.generation.prompt.encoder import EncodedPrompts, PromptEncoder
from tests.support.attention_oracle import oracle, prefix_shares
from tests.support.messages import conversations
from tests.support.tiny.models import FAMILIES

MODES = ["positive", "paper"]


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
    """The logits without padding rows, which are meaningless."""
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
    assert ACTIVE_RUN.get() is None


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


def test_a_decoder_with_another_attention_is_refused(llava: Family) -> None:
    decoder = llava.model.get_decoder()
    decoder.config._attn_implementation = "flash_attention_2"
    try:
        with pytest.raises(CalibrationError, match="'flash_attention_2'"):
            find_attention_layers(llava.model, torch.ones(1, 3, dtype=torch.int64))
    finally:
        decoder.config._attn_implementation = "sdpa"


def test_eager_attention_is_calibrated_as_well(llava: Family) -> None:
    # In float32: the eager softmax of transformers is float32 in any case, and the smallest
    # float64, which masks padding, is an infinity there.
    model = copy.deepcopy(llava.model).float()
    inputs = {k: v.float() if v.is_floating_point() else v for k, v in llava.inputs.items()}
    layers = find_attention_layers(model, torch.tensor([[5, 6, 7]])).band(0.3, 0.7)

    @torch.inference_mode()
    def logits(run: CalibrationRun | None) -> Tensor:
        with nullcontext() if run is None else calibrated_attention(model, run):
            return real(model(**inputs, use_cache=False).logits, llava)

    def run() -> CalibrationRun:
        prompts = llava.prompts
        config = CalibrationConfig(gamma=0.8)
        return CalibrationRun(prompts.prefix_mask, prompts.instruction_mask, config, layers)

    expected = logits(run())
    model.get_decoder().set_attn_implementation("eager")
    plain, active = logits(None), run()
    got = logits(active)
    assert model.get_decoder().config._attn_implementation == "eager"
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-3)
    assert (got - plain).abs().max() > 1e-2
    assert active.observed_layers() == (1, 2)


def test_each_row_has_its_own_strength(llava: Family) -> None:
    gammas = [0.0, 0.5, 2.0, 1.0]

    def logits(strengths: list[float]) -> Tensor:
        prompts = llava.prompts
        run = CalibrationRun(
            prompts.prefix_mask,
            prompts.instruction_mask,
            CalibrationConfig(),
            llava.layers,
            gammas=strengths,
        )
        with calibrated_attention(llava.model, run):
            out: Tensor = llava.forward().logits
        assert run.observed_layers() == (1, 2)
        return out

    mixed = logits(gammas)
    for row, gamma in enumerate(gammas):
        assert torch.equal(mixed[row], logits([gamma] * 4)[row])
    assert torch.equal(mixed[0], llava.forward().logits[0])


@pytest.mark.parametrize("gamma", [0.0, 1.5])
def test_the_observed_attention_is_that_of_the_oracle(llava: Family, gamma: float) -> None:
    prompts = llava.prompts
    run = CalibrationRun(
        prompts.prefix_mask,
        prompts.instruction_mask,
        CalibrationConfig(gamma=gamma),
        llava.layers,
        observed=llava.all_layers,
    )
    with calibrated_attention(llava.model, run):
        observed = llava.forward().logits
    with calibrated_attention(llava.model, llava.run(gamma=gamma)):
        assert torch.equal(observed, llava.forward().logits)
    shares = prefix_shares(
        llava.model,
        llava.inputs,
        prompts.instruction_mask,
        prompts.prefix_mask,
        {1, 2},
        gamma=gamma,
    )
    for row in range(3):
        pairs = run.prefix_attention(row)
        assert [layer for layer, _ in pairs] == [0, 1, 2, 3]
        got = torch.tensor([share for _, share in pairs], dtype=torch.float64)
        torch.testing.assert_close(got, shares[row], rtol=0, atol=1e-5)


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
