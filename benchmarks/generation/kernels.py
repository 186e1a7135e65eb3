"""Checks that calibration on a device is exact and keeps its fast paths: kernels, compiled graphs.

Each check runs the real model at the given widths and reports what it found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from transformers import CompileConfig

from benchmarks.generation.dense_attention import dense_attention
from benchmarks.generation.models import Widths, conversation
from guardalign_middleware.config import CalibrationConfig
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.generation import CalibratedRunner
from guardalign_middleware.generation.attention.activate import calibrated_attention
from guardalign_middleware.generation.attention.forward import (
    ACTIVE_RUN,
    calibrated_attention_forward,
)
from guardalign_middleware.generation.attention.run import AttentionLayers, CalibrationRun
from guardalign_middleware.generation.engine.collate import collate
from guardalign_middleware.types import Message

_BACKENDS = ("MATH", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION")
_COMPILED_TOKENS = 24


@dataclass(frozen=True)
class Check:
    """What was checked, what was found, and whether that is right; None = not possible here."""

    asked: str
    found: str
    right: bool | None


def checks(runner: CalibratedRunner, widths: Widths, *, backend: str) -> list[Check]:
    """All checks.

    Args:
        runner: a LLaVA with SDPA attention, with calibration on.
        widths: of the model.
        backend: of `torch.compile`.
    """
    model = _Prompts(runner, widths)
    return [
        model.padding(),
        model.other_rows(),
        model.gamma_zero(),
        model.kernels(),
        *(exact(runner, widths, name) for name in _BACKENDS),
        *compiled(runner, widths, backend),
    ]


class _Prompts:
    """One prompt, alone and left-padded next to a longer one."""

    def __init__(self, runner: CalibratedRunner, widths: Widths) -> None:
        self.runner = runner
        self.model = runner._model
        (turn,) = conversation(1, widths.image_size)
        longer = Message("user", (*turn.parts, *turn.parts[-1:]))
        prompts = [
            runner._prompts.encode([row], prefix=[True], spans=True)
            for row in (conversation(0, widths.image_size), [longer])
        ]
        self.alone = prompts[0]
        self.padded = collate(prompts, runner._prompts._tokenizer.pad_token_id)

    def logits(self, prompts: Any, gamma: float | None) -> Tensor:
        """Logits `[B, L, V]`; gamma None = without calibration."""
        inputs = {k: self.runner._inference._to_model(v) for k, v in prompts.inputs.items()}
        with torch.inference_mode():
            if gamma is None:
                return self.model(**inputs, use_cache=False).logits
            config = self.runner.config.calibration.model_copy(update={"gamma": gamma})
            run = CalibrationRun(
                prompts.prefix_mask, prompts.instruction_mask, config, self.runner.layers
            )
            with calibrated_attention(self.model, run):
                logits: Tensor = self.model(**inputs, use_cache=False).logits
            run.observed_layers()
            return logits

    def padding(self) -> Check:
        """A padded row has the logits of the row alone, calibrated and plain."""
        gamma = self.runner.config.calibration.gamma
        apart = {
            how: _relative(
                self.logits(self.padded, strength)[0, -1], self.logits(self.alone, strength)[0, -1]
            )
            for how, strength in (("plain", None), ("calibrated", gamma))
        }
        allowed = 0.05 if self.model.dtype == torch.bfloat16 else 1e-3
        return Check(
            "masks: a left-padded row has the logits it has alone",
            ", ".join(f"{how} differs by {value:.1e}" for how, value in apart.items()),
            max(apart.values()) <= allowed,
        )

    def other_rows(self) -> Check:
        """Calibration changes no row before the instruction, and changes the rest."""
        plain = self.logits(self.alone, None)
        got = self.logits(self.alone, self.runner.config.calibration.gamma)
        first = int(self.alone.instruction_mask[0].nonzero()[0])
        same = torch.equal(got[:, :first], plain[:, :first])
        moved = not torch.equal(got[:, first:], plain[:, first:])
        found = f"{first} rows before it {'equal' if same else 'differ'}"
        return Check(
            "rows before the instruction are bit-identical, and the instruction is not",
            found if moved else f"{found}; nothing was calibrated",
            first > 0 and same and moved,
        )

    def gamma_zero(self) -> Check:
        """The calibrated path with γ = 0 equals the plain model."""
        same = torch.equal(self.logits(self.padded, 0.0), self.logits(self.padded, None))
        return Check("γ = 0 is bit-identical", "equal" if same else "differs", same)

    def kernels(self) -> Check:
        """Calibration keeps the attention kernels that the plain model uses for the prompt."""
        gamma = self.runner.config.calibration.gamma
        names = []
        for strength in (None, gamma):
            with profile(activities=[ProfilerActivity.CPU]) as seen:
                self.logits(self.alone, strength)
            # The dispatcher's choice shows up as an operator below the public one.
            found = {event.key for event in seen.key_averages() if "attention" in event.key}
            names.append(sorted(found - {"aten::scaled_dot_product_attention"}))
        plain, calibrated = names
        return Check(
            "the prompt runs the attention kernels of the plain model",
            ", ".join(calibrated),
            bool(plain) and plain == calibrated,
        )


def exact(runner: CalibratedRunner, widths: Widths, name: str) -> Check:
    """One layer at these widths, with SDPA's backend `name` forced, equals the dense reference.

    The reference is dense, so the prompt is short.
    """
    asked = f"rows are exact over SDPA's {name.lower().replace('_', ' ')}"
    device, dtype = runner._model.device, runner._model.dtype
    generator = torch.Generator().manual_seed(0)
    length, width = 192, widths.hidden // widths.heads
    query, key, value = (
        torch.randn(2, widths.heads, length, width, generator=generator).to(device, dtype)
        for _ in range(3)
    )
    prefix = torch.zeros(2, length, dtype=torch.bool)
    instruction = prefix.clone()
    prefix[:, 100:130] = True
    instruction[:, 132:190] = True
    module = nn.Module()
    gamma = 0.5
    run = CalibrationRun(
        prefix, instruction, CalibrationConfig(gamma=gamma), AttentionLayers((module,), (0,))
    )
    run.begin_forward(2, length, None)
    try:
        with _active(run), sdpa_kernel(getattr(SDPBackend, name)), torch.inference_mode():
            got, _ = calibrated_attention_forward(
                module, query, key, value, None, scaling=width**-0.5, is_causal=True
            )
    except RuntimeError as error:
        return Check(asked, f"not available: {str(error).splitlines()[0]}", None)
    allowed = torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]
    where = (instruction[:, :, None] & prefix[:, None, :]).to(device)
    expected = dense_attention(
        query,
        key,
        value,
        allowed,
        scaling=width**-0.5,
        where=where,
        gamma=gamma,
        mode="positive",
    )
    apart = _relative(got[instruction.to(device)], expected[instruction.to(device)])
    return Check(asked, f"differs by {apart:.1e}", apart <= (1e-2 if dtype.itemsize == 2 else 1e-5))


def compiled(runner: CalibratedRunner, widths: Widths, backend: str) -> Iterator[Check]:
    """Decoding with a static cache, which transformers compiles, stays one graph without breaks."""
    messages = conversation(0, widths.image_size)
    options = runner._model.generation_config
    before = options.cache_implementation, options.compile_config
    options.cache_implementation = "static"
    options.compile_config = CompileConfig(
        backend=backend, mode="reduce-overhead" if backend == "inductor" else "default"
    )
    # By default transformers compiles on accelerators only.
    options.compile_config._compile_all_devices = True
    try:
        graphs: dict[str, tuple[int, int]] = {}
        for how in ("plain", "calibrated"):

            def answer(calibrate: bool = how == "calibrated") -> None:
                options = runner._requests.resolve({"max_new_tokens": _COMPILED_TOKENS})
                job = runner._job(messages, options, prefix=True, calibrate=calibrate)
                runner._inference.answer([job])
                job.future.result(0)

            torch._dynamo.reset()
            counters.clear()
            seconds = _again(answer)
            breaks = sum(counters["graph_break"].values())
            graphs[how] = (counters["stats"]["unique_graphs"], breaks)
            yield Check(
                f"compiled decoding, {how}",
                f"{graphs[how][0]} graph(s), {breaks} break(s); an answer of {_COMPILED_TOKENS} "
                f"tokens in {seconds * 1000:.0f} ms",
                graphs[how] == (1, 0) if how == "plain" else graphs[how] == graphs["plain"],
            )
        yield _in_the_runners_thread(runner, messages)
    finally:
        options.cache_implementation, options.compile_config = before
        torch._dynamo.reset()


def _in_the_runners_thread(runner: CalibratedRunner, messages: Any) -> Check:
    asked = "compiled decoding in the runner's own thread"
    try:
        state = runner.generate(messages, max_new_tokens=_COMPILED_TOKENS).calibration.state
    except (GuardAlignError, RuntimeError, AssertionError) as error:
        return Check(asked, f"{type(error).__name__}: {str(error).splitlines()[0]}", False)
    return Check(asked, f"calibration {state}", state == "on")


def _again(call: Callable[[], None]) -> float:
    """Seconds of the third run: the first one compiles, the second may record graphs."""
    for _ in range(2):
        call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _relative(got: Tensor, expected: Tensor) -> float:
    expected = expected.double()
    return float((got.double() - expected).abs().max() / expected.abs().max())


@contextmanager
def _active(run: CalibrationRun) -> Iterator[None]:
    token = ACTIVE_RUN.set(run)
    try:
        yield
    finally:
        ACTIVE_RUN.reset(token)
