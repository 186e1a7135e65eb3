"""The CPU time that the LlamaIndex adapters add: `python -m benchmarks.llama_index.overhead`.

Without an image, a call is compared with the same call of LlamaIndex's own mock; both models have
their answer ready. With an image, it is compared with the bare chain (`GuardAlign.invoke`) on the
same bytes and with the same guard (`mini`). All calls are timed in turns (ABBA) in one process and
one thread. If the mock differs from itself by more than 2%, the run is void: nothing is stored, and
the exit status is 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM

from benchmarks.adapter_overhead import QUESTION, count_decodings, decodings_note, demo_png, run
from benchmarks.guards import without_memory
from benchmarks.results import RESULTS
from benchmarks.tables import Table, table
from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.bench.device import processor
from guardalign_middleware.bench.timing import Comparison, compare
from guardalign_middleware.replies import CalibrationReport, Generated, Usage
from guardalign_middleware.testing import EchoRunner
from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignMultiModal

RESULT = RESULTS / "llama_index_overhead.json"


class InstantRunner(EchoRunner):
    """Has its answer ready, like the mock."""

    answer = Generated(
        text=f"echo: {QUESTION}",
        finish_reason="stop",
        calibration=CalibrationReport("off", prefix=True, reason="there is no model"),
        usage=Usage(5, 6),
    )

    def generate(self, *_: object, **__: object) -> Generated:
        """The ready answer."""
        return self.answer

    def generate_batch(self, rows: Sequence[object], **__: object) -> list[Generated]:
        """The ready answer to each row."""
        return [self.answer] * len(rows)


def measure(pairs: int, calls: int, guard: ImageGuard | None = None) -> dict[str, Any]:
    """All comparisons, and the number of times that an image is decoded.

    Args:
        pairs: of each comparison; half as many with an image.
        calls: per timing without an image.
        guard: that of all adapters; None = `mini`.
    """
    data = demo_png()
    guard = guard or ImageGuard.from_config(without_memory("mini"))
    chain = GuardAlign(guard, InstantRunner())
    mock, same = _mock(), _mock()
    local = GuardAlignMultiModal(chain=chain)
    guarded = GuardAlignGuardedLLM(llm=_mock(), guard=guard)

    words = [ChatMessage(role="user", content=QUESTION)]
    blocks = [ImageBlock(image=data), TextBlock(text=QUESTION)]
    picture = [ChatMessage(role="user", blocks=blocks)]
    parts = [{"type": "image", "image": data}, {"type": "text", "text": QUESTION}]
    plain = [{"role": "user", "content": parts}]

    rows = [
        ("the mock ÷ itself", lambda: mock.chat(words), lambda: same.chat(words), calls),
        (
            "`GuardAlignMultiModal` ÷ the mock, words alone",
            lambda: mock.chat(words),
            lambda: local.chat(words),
            calls,
        ),
        (
            "`GuardAlignGuardedLLM` around the mock ÷ the mock, words alone",
            lambda: mock.chat(words),
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
        compare(name, base, other, pairs=pairs if count > 1 else (pairs + 1) // 2, calls=count)
        for name, base, other, count in rows
    ]
    decodings = {
        "GuardAlignMultiModal": count_decodings(lambda: local.chat(picture)),
        "GuardAlignGuardedLLM": count_decodings(lambda: guarded.chat(picture)),
    }
    return {
        "processor": processor(),
        "comparisons": [vars(item) for item in found],
        "decodings": decodings,
        "tables": {"llama_index_overhead": overhead_table(found, decodings)},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60, help="half as many with an image")
    parser.add_argument("--calls", type=int, default=100, help="calls per timing without an image")
    run(measure, RESULT, parser, arguments)


def overhead_table(found: Sequence[Comparison], decodings: dict[str, int]) -> Table:
    """The table of the documentation."""
    rows = [[row.name, str(row)] for row in found]
    note = (
        f"Medians of {found[0].pairs} pairs, {found[-1].pairs} with an image, on one "
        f"thread of an {processor()}. {decodings_note(decodings)}"
    )
    return table(["CPU time of a call", "ratio (95% interval)"], rows, note)


def _mock() -> MockFunctionCallingLLM:
    answer = ChatMessage(role="assistant", content=f"echo: {QUESTION}")
    return MockFunctionCallingLLM(response_generator=lambda *_, **__: answer, is_chat_model=True)


if __name__ == "__main__":
    main()
