"""The CPU time that the LangChain adapters add: `python -m benchmarks.langchain.overhead`.

Without an image, `ChatGuardAlign` with a runner that only echoes is compared with an idle LangChain
model. With an image, it is compared with the bare chain (`GuardAlign.invoke`) on the same bytes and
with the same guard (`mini`), and `ImageGuardRunnable` on a cached image with its first scan. All
calls are timed in turns (ABBA) in one process and one thread. If the idle model differs from itself
by more than 2%, the run is void: nothing is stored, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from benchmarks.adapter_overhead import QUESTION, count_decodings, decodings_note, demo_png, run
from benchmarks.guards import without_memory
from benchmarks.results import RESULTS
from benchmarks.tables import Table, table
from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.bench.timing import Call, Comparison, compare
from guardalign_middleware.testing import EchoRunner
from langchain_guardalign import ChatGuardAlign, ImageGuardRunnable

RESULT = RESULTS / "langchain_overhead.json"


class IdleModel(BaseChatModel):
    """A chat model that ignores its prompt, for measuring what a guard adds to a call.

    Attributes:
        answer: returned by every call.
    """

    answer: AIMessage

    @property
    def _llm_type(self) -> str:
        return "idle"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.answer)])


def measure(pairs: int, calls: int, guard: ImageGuard | None = None) -> dict[str, Any]:
    """All comparisons, and the number of times that an image is decoded.

    Args:
        pairs: of each comparison.
        calls: per timing without an image.
        guard: that of all adapters; None = `mini`.
    """
    guard = guard or ImageGuard.from_config(without_memory("mini"))
    chain = GuardAlign(guard, EchoRunner())
    idle, same = IdleModel(answer=AIMessage(QUESTION)), IdleModel(answer=AIMessage(QUESTION))
    local = ChatGuardAlign(chain=chain)
    cached = ImageGuardRunnable(guard=guard)
    uncached = ImageGuardRunnable(guard=guard, cache_size=0)

    words = [HumanMessage(QUESTION)]
    data = demo_png()
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
            lambda: idle.invoke(cached.invoke(words)),
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
            lambda: uncached.invoke(picture),
            lambda: cached.invoke(picture),
            1,
        ),
    ]
    found = [
        compare(name, base, other, pairs=pairs, calls=count) for name, base, other, count in rows
    ]
    decodings = {
        "ChatGuardAlign": count_decodings(lambda: local.invoke(picture)),
        "ImageGuardRunnable": count_decodings(lambda: uncached.invoke(picture)),
    }
    return {
        "comparisons": [vars(item) for item in found],
        "decodings": decodings,
        "tables": {"langchain_overhead": overhead_table(found, decodings)},
    }


def overhead_table(found: Sequence[Comparison], decodings: dict[str, int]) -> Table:
    """The table of the documentation."""
    rows = [[row.name, str(row), str(round(row.added_us))] for row in found]
    note = (
        f"CPU time, median of {found[0].pairs} interleaved pairs (95% interval); the microseconds "
        f"hold for the machine of the run. {decodings_note(decodings)}"
    )
    return table(["what ÷ what", "ratio", "added µs a call"], rows, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--calls", type=int, default=200, help="calls per timing without an image")
    run(measure, RESULT, parser, arguments)


if __name__ == "__main__":
    main()
