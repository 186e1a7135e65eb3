"""What the LlamaIndex adapters add to a call: `python -m benchmarks.llama_index.overhead`.

Without an image, a call is compared with the same call of LlamaIndex's own mock, which answers at
once, as the model behind our adapters does. With an image, it is compared with the bare chain
(`GuardAlign.invoke`) on the same bytes, whose guard looks through the miniature encoder. Everything
runs in one process and one thread, the arms take turns (ABBA), and the figures are ratios of CPU
time. A run whose mock differs from itself by more than 2% is void: exit status 1.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from PIL import Image
from rich.console import Console

from benchmarks.statistics import Comparison, compare, decodings, processor
from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.testing import EchoRunner
from guardalign_middleware.types import CalibrationReport, Generated, Usage
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignMultiModal

RESULT = Path(__file__).parents[1] / "results" / "llama_index_overhead.json"
QUESTION = "What is in the picture?"
_VOID = 0.02


class Instant(EchoRunner):
    """Has its answer ready, as the mock has."""

    answer = Generated(
        text=f"echo: {QUESTION}",
        finish_reason="stop",
        calibration=CalibrationReport("off", prefix=True, reason="there is no model"),
        usage=Usage(5, 6),
    )

    def generate(self, *_: object, **__: object) -> Generated:
        """The answer."""
        return self.answer

    def generate_batch(self, rows: Sequence[object], **__: object) -> list[Generated]:
        """The answer to each."""
        return [self.answer] * len(rows)


def measure(pairs: int, calls: int) -> dict[str, Any]:
    """All comparisons, and how often an image is decoded."""
    data = _png()
    guard = ImageGuard.from_preset("mini")
    chain = GuardAlign(guard, Instant())
    trivial, same = _trivial(), _trivial()
    local = GuardAlignMultiModal(chain=chain)
    guarded = GuardAlignGuardedLLM(llm=_trivial(), guard=guard)

    words = [ChatMessage(role="user", content=QUESTION)]
    blocks = [ImageBlock(image=data), TextBlock(text=QUESTION)]
    picture = [ChatMessage(role="user", blocks=blocks)]
    parts = [{"type": "image", "image": data}, {"type": "text", "text": QUESTION}]
    plain = [{"role": "user", "content": parts}]

    rows = [
        ("the mock ÷ itself", lambda: trivial.chat(words), lambda: same.chat(words), calls),
        (
            "`GuardAlignMultiModal` ÷ the mock, words alone",
            lambda: trivial.chat(words),
            lambda: local.chat(words),
            calls,
        ),
        (
            "`GuardAlignGuardedLLM` around the mock ÷ the mock, words alone",
            lambda: trivial.chat(words),
            lambda: guarded.chat(words),
            calls,
        ),
        (
            "`GuardAlignMultiModal` ÷ `GuardAlign`, an image",
            lambda: chain.invoke(plain),
            lambda: local.chat(picture),
            1,
        ),
        (
            "`GuardAlignGuardedLLM` around the mock ÷ `GuardAlign`, an image",
            lambda: chain.invoke(plain),
            lambda: guarded.chat(picture),
            1,
        ),
    ]
    found = [
        compare(name, base, other, pairs=pairs if count > 1 else max(20, pairs // 2), calls=count)
        for name, base, other, count in rows
    ]
    opened = {
        "GuardAlignMultiModal": decodings(lambda: local.chat(picture)),
        "GuardAlignGuardedLLM": decodings(lambda: guarded.chat(picture)),
    }
    return {
        "processor": processor(),
        "comparisons": [vars(item) for item in found],
        "decodings": opened,
        "tables": {"llama_index_overhead": table(found, opened)},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60, help="half with an image")
    parser.add_argument("--calls", type=int, default=100, help="of each timing, without an image")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result = measure(options.pairs, options.calls)
    console = Console()
    for row in result["comparisons"]:
        ratio = f"{row['ratio']:.3f} ({row['low']:.3f}–{row['high']:.3f})"
        console.print(f"{row['name']}: {ratio}, {row['added_us']:+.0f} µs")
    console.print(f"decodings of an image: {result['decodings']}; {result['processor']}")
    if abs(result["comparisons"][0]["ratio"] - 1.0) > _VOID:
        console.print("void: the mock differs from itself by more than 2%")
        sys.exit(1)
    RESULT.write_text(f"{json.dumps(result, indent=1, ensure_ascii=False)}\n", "utf-8")
    console.print(f"written: {RESULT}")


def table(comparisons: Sequence[Comparison], opened: dict[str, int]) -> dict[str, Any]:
    """What `benchmarks.pages.figures` puts into the documentation."""
    rows = [[row.name, f"{row.ratio:.3f} ({row.low:.3f}–{row.high:.3f})"] for row in comparisons]
    times = " and ".join(f"`{name}` {count}" for name, count in opened.items())
    told = (
        f"Medians of {comparisons[0].pairs} pairs, {comparisons[-1].pairs} with an image, on one "
        f"thread of an {processor()}. Times that an image is decoded: {times}."
    )
    return {"head": ["CPU time of a call", "ratio (95% interval)"], "rows": rows, "told": told}


def _trivial() -> MockFunctionCallingLLM:
    answer = ChatMessage(role="assistant", content=f"echo: {QUESTION}")
    return MockFunctionCallingLLM(response_generator=lambda *_, **__: answer, is_chat_model=True)


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(demo_scenes()[0].scene.pixels).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
