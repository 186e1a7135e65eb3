"""What the LangChain adapters add to a call: `python -m benchmarks.langchain.overhead`.

Without an image, `ChatGuardAlign` before a model that only echoes is compared with a LangChain
model that does nothing. With an image, it is compared with the bare chain (`GuardAlign.invoke`) on
the same bytes, whose guard looks through the miniature encoder; and `ImageGuardRunnable` with an
image that it knows already is compared with a first look. One process, one thread, arms in turns
(ABBA), ratios of CPU time. A run whose idle model differs from itself by more than 2% is void: exit
status 1.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import torch
from langchain_core.messages import AIMessage, HumanMessage
from PIL import Image
from rich.console import Console

from benchmarks.statistics import Call, Comparison, compare, decodings
from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.testing import EchoRunner
from langchain_guardalign import ChatGuardAlign, ImageGuardRunnable
from langchain_guardalign.testing import IdleModel

RESULT = Path(__file__).parents[1] / "results" / "langchain_overhead.json"
QUESTION = "What is in the picture?"
_VOID = 0.02


def measure(pairs: int, calls: int) -> dict[str, Any]:
    """All comparisons, and how often an image is decoded."""
    guard = ImageGuard.from_preset("mini")
    chain = GuardAlign(guard, EchoRunner())
    idle, same = IdleModel(answer=AIMessage(QUESTION)), IdleModel(answer=AIMessage(QUESTION))
    local = ChatGuardAlign(chain=chain)
    knowing = ImageGuardRunnable(guard=guard)
    forgetful = ImageGuardRunnable(guard=guard, cache_size=0)

    words = [HumanMessage(QUESTION)]
    data = _png()
    block = {
        "type": "image",
        "base64": base64.b64encode(data).decode("ascii"),
        "mime_type": "image/png",
    }
    picture = [HumanMessage([block, {"type": "text", "text": QUESTION}])]
    parts = [{"type": "image", "image": data}, {"type": "text", "text": QUESTION}]
    plain = [{"role": "user", "content": parts}]
    rows: list[tuple[str, Call, Call, int]] = [
        (
            "an idle model ÷ itself, words alone",
            lambda: idle.invoke(words),
            lambda: same.invoke(words),
            calls,
        ),
        (
            "`ChatGuardAlign` ÷ an idle model, words alone",
            lambda: idle.invoke(words),
            lambda: local.invoke(words),
            calls,
        ),
        (
            "`ImageGuardRunnable` and an idle model ÷ the idle model, words alone",
            lambda: idle.invoke(words),
            lambda: idle.invoke(knowing.invoke(words)),
            calls,
        ),
        (
            "`ChatGuardAlign` ÷ `GuardAlign`, an image",
            lambda: chain.invoke(plain),
            lambda: local.invoke(picture),
            1,
        ),
        (
            "`ImageGuardRunnable`, an image that it knows ÷ one that it does not",
            lambda: forgetful.invoke(picture),
            lambda: knowing.invoke(picture),
            1,
        ),
    ]
    found = [
        compare(name, base, other, pairs=pairs, calls=count) for name, base, other, count in rows
    ]
    opened = {
        "ChatGuardAlign": decodings(lambda: local.invoke(picture)),
        "ImageGuardRunnable": decodings(lambda: forgetful.invoke(picture)),
    }
    return {
        "comparisons": [vars(item) for item in found],
        "decodings": opened,
        "tables": {"langchain_overhead": table(found, opened)},
    }


def table(found: list[Comparison], opened: dict[str, int]) -> dict[str, Any]:
    """The rows that `benchmarks.pages.figures` prints."""
    rows = [
        [row.name, f"{row.ratio:.3f} ({row.low:.3f}–{row.high:.3f})", str(round(row.added_us))]
        for row in found
    ]
    times = " and ".join(f"`{name}` {count}" for name, count in opened.items())
    told = (
        f"CPU time, median of {found[0].pairs} interleaved pairs (95% interval); the microseconds "
        f"hold for the machine of the run. Times that an image is decoded: {times}."
    )
    return {"head": ["what ÷ what", "ratio", "added µs a call"], "rows": rows, "told": told}


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(demo_scenes()[0].scene.pixels).save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--calls", type=int, default=200, help="of each timing, without an image")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(options.pairs, options.calls)
    console = Console()
    for row in result["tables"]["langchain_overhead"]["rows"]:
        console.print(" | ".join(row))
    if abs(result["comparisons"][0]["ratio"] - 1.0) > _VOID:
        console.print("void: the idle model differs from itself by more than 2%")
        sys.exit(1)
    RESULT.write_text(f"{json.dumps(result, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
    console.print(f"written: {RESULT}")


if __name__ == "__main__":
    main()
