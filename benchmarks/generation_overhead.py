"""What calibration costs, and what batching gains: `python -m benchmarks.generation_overhead`.

A LLaVA with random weights answers a prompt of about 640 tokens: speed needs no trained weights.
Arms in turns (ABBA) in one process, ratios of CPU time with 95% intervals; a run whose plain arm
differs from itself by more than 2% is void, and so is one in which a check fails: exit status 1.
The default width is small enough for a laptop's CPU; the widths of LLaVA-1.5-7B on a GPU are

    python -m benchmarks.generation_overhead --hidden 4096 --layers 32 --heads 32 \
        --device cuda --dtype bfloat16 --clock wall
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from benchmarks.paired import compare
from guardalign_middleware.config import RunnerConfig
from guardalign_middleware.generation import CalibratedRunner, LoadedModel, load_model
from guardalign_middleware.types import Generated, Message, TextPart

RESULT = Path(__file__).parent / "results" / "generation_overhead.json"
MINI = Path(__file__).parent.parent / "guardalign_middleware" / "mini" / "llava"
_VOID = 0.02
_CONCURRENT = 16


def build(options: argparse.Namespace) -> tuple[CalibratedRunner, CalibratedRunner]:
    """A runner over SDPA and one over eager attention, of one random model."""
    torch.manual_seed(0)
    tokens = load_model(RunnerConfig(model=str(MINI), device="cpu"))
    tokenizer = tokens.processor.tokenizer
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.hidden,
        intermediate_size=int(options.hidden * 2.6875),
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.heads,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # No end token: every answer has the full length.
        eos_token_id=None,
    )
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
    )
    config = LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=tokens.model.config.image_token_index,
    )
    model: Any = LlavaForConditionalGeneration(config).to(getattr(torch, options.dtype))
    processor = LlavaProcessor(
        CLIPImageProcessor(), tokenizer, chat_template=tokens.processor.chat_template
    )
    runners = []
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        for attention in ("sdpa", "eager"):
            own: Any = LlavaForConditionalGeneration.from_pretrained(
                folder, dtype=getattr(torch, options.dtype), attn_implementation=attention
            )
            loaded = LoadedModel(attention, own.to(device).eval(), processor, device)
            runners.append(
                CalibratedRunner(
                    loaded,
                    RunnerConfig(
                        model=attention,
                        max_new_tokens=options.new_tokens,
                        batch_size=_CONCURRENT,
                        max_wait_ms=20.0,
                        calibration={"gamma": options.gamma},
                    ),
                )
            )
    return runners[0], runners[1]


def conversation(runner: CalibratedRunner, prefill: int, seed: int = 0) -> list[Message]:
    """An instruction after a long story, `prefill` tokens in all, near enough."""
    rng = np.random.default_rng(seed)
    words = "dog car tree red blue in the picture what is there".split()
    story: list[str] = []
    while True:
        messages = [
            Message("system", (TextPart(" ".join(story)),)) if story else None,
            Message("user", (TextPart("what is in the picture ? tell me more of it . " * 4),)),
        ]
        kept = [message for message in messages if message is not None]
        if runner.count_tokens(kept) >= prefill:
            return kept
        story += list(rng.choice(words, 16))


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and look at what it made."""
        made = func(*args, **(kwargs or {}))
        for item in made if isinstance(made, tuple | list) else (made,):
            if isinstance(item, torch.Tensor):
                self.numel = max(self.numel, item.numel())
        return made


def largest(runner: CalibratedRunner, messages: Sequence[Message], *, calibrate: bool) -> int:
    """Elements of the largest tensor made while the prompt is read."""
    call = runner._call(calibrate, 1, None, None, None, ())
    job = runner._job(messages, True, call)
    with Largest() as mode:
        runner._inference.answer([job])
    return mode.numel


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All comparisons and checks."""
    runner, eager = build(options)
    messages = conversation(runner, options.prefill)

    def arm(which: CalibratedRunner, *, calibrate: bool) -> Callable[[], Generated]:
        return lambda: which.generate(messages, calibrate=calibrate)

    plain, calibrated = arm(runner, calibrate=False), arm(runner, calibrate=True)
    pairs = options.pairs
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    ratios = [
        compare("plain ÷ itself", plain, arm(runner, calibrate=False), pairs=pairs, clock=clock),
        compare("calibrated ÷ plain", plain, calibrated, pairs=pairs, clock=clock),
        compare(
            "calibrated over eager attention ÷ calibrated",
            calibrated,
            arm(eager, calibrate=True),
            pairs=pairs,
            clock=clock,
        ),
    ]
    requests = [conversation(runner, options.prefill // 4, seed) for seed in range(_CONCURRENT)]

    def serial() -> list[Generated]:
        return [runner.generate(request) for request in requests]

    def concurrent() -> list[Generated]:
        with ThreadPoolExecutor(_CONCURRENT) as pool:
            return list(pool.map(runner.generate, requests))

    same = [a.text for a in serial()] == [b.text for b in concurrent()]
    start = time.perf_counter()
    serial()
    middle = time.perf_counter()
    concurrent()
    gain = (middle - start) / (time.perf_counter() - middle)
    tokens = runner.count_tokens(messages)
    return {
        "settings": {k: v for k, v in vars(options).items() if k != "out"},
        "prompt_tokens": tokens,
        "ratios": [vars(ratio) for ratio in ratios],
        "concurrent_gain": gain,
        "concurrent_answers_equal": same,
        "largest_tensor": {
            "plain": largest(runner, messages, calibrate=False),
            "calibrated": largest(runner, messages, calibrate=True),
            "scores_of_all_rows": options.heads * tokens * tokens,
        },
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--prefill", type=int, default=640)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--gamma", type=float, default=0.5)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    found = measure(options)
    console = Console()
    for ratio in found["ratios"]:
        console.print(
            f"{ratio['name']}: {ratio['ratio']:.3f} ({ratio['low']:.3f}–{ratio['high']:.3f})"
        )
    console.print(
        f"{_CONCURRENT} concurrent requests: {found['concurrent_gain']:.1f} times as fast as one "
        f"by one, answers equal: {found['concurrent_answers_equal']}"
    )
    console.print(f"elements of the largest tensor: {found['largest_tensor']}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sizes = found["largest_tensor"]
    dense = sizes["calibrated"] >= sizes["scores_of_all_rows"]
    void = abs(found["ratios"][0]["ratio"] - 1.0) > _VOID
    if void or dense or not found["concurrent_answers_equal"]:
        console.print("void: the machine is too noisy, or a check failed", style="red")
        sys.exit(1)


if __name__ == "__main__":
    main()
