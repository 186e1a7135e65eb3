"""What a server adds to a guard and a chain: `python -m benchmarks.serving.overhead`.

Guard and runner are trivial, so that what is left is the server: sockets, HTTP, JSON, base64,
decoding and the way through the queue. Client and server share a process, where the CPU time of
both is counted; nothing that one has decoded is known to the other, as in two processes. Elapsed
time is stored beside it; on a machine that others use, it says more about them.

Also: 16 requests at once against one after the other, on a double of a device whose passes take the
same time for many crops as for few, and how late a chunk of an upstream's stream arrives. If a call
differs from itself by more than 2%, the run is void, and nothing is stored.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.results import RESULTS, write_json
from benchmarks.serving.device import CALLERS, PASS_SECONDS, together
from benchmarks.serving.loopback import clock_upstream, listening
from benchmarks.tables import Table, interval, table
from guardalign_middleware import GuardAlign, RemoteImageGuard
from guardalign_middleware.bench.device import processor
from guardalign_middleware.bench.timing import Comparison, comparison, is_noisy
from guardalign_middleware.config import PatchConfig, ServeConfig
from guardalign_middleware.generation.stream import Ticket
from guardalign_middleware.intake.shared_frames import SHARED
from guardalign_middleware.replies import Generated
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import EchoRunner, red_config, red_guard
from guardalign_middleware.testing.photos import file_of, photo
from guardalign_middleware.types import Message

RESULT = RESULTS / "serving_overhead.json"
SIDE = 512
_CHUNKS, _PAUSE = 50, 0.005
Call = Callable[[], object]


@dataclass(frozen=True)
class Added:
    """What one call costs more than another, by both clocks."""

    cpu: Comparison
    elapsed: Comparison


def measure(pairs: int, calls: int, rounds: int) -> dict[str, Any]:
    """All comparisons.

    Args:
        pairs: of each comparison; at least 20 for published figures.
        calls: per timing.
        rounds: of requests at once, and of streams.
    """
    photograph = file_of(photo(SIDE, SIDE), "JPEG", quality=90)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(SHARED, "get", _decoded_anew))
        guard = _guard(remembered=0)
        chain = GuardAlign(_guard(), _Runner())
        options = ServeOptions(ServeConfig(model_name="red"))
        url = stack.enter_context(listening(create_app(chain, options)))
        client = stack.enter_context(httpx.Client(base_url=url, trust_env=False))
        guard_url = stack.enter_context(listening(create_app(guard)))
        remote = stack.enter_context(RemoteImageGuard(guard_url))

        def served(messages: list[dict[str, Any]]) -> Call:
            body = {"model": "red", "messages": messages}

            def ask() -> object:
                answer = client.post("/v1/chat/completions", json=body)
                return answer.raise_for_status()

            return ask

        words = _messages(None)
        picture = _messages(photograph)

        def idle() -> object:
            return chain.invoke(words)

        found = [
            added("the chain, words ÷ itself", idle, idle, pairs, 4 * calls),
            added("server ÷ chain, words", idle, served(words), pairs, calls),
            added(
                "server ÷ chain, a photo that it knows",
                lambda: chain.invoke(picture),
                served(picture),
                pairs,
                calls,
            ),
            added(
                "`RemoteImageGuard` ÷ `ImageGuard`, `scan` of a photo",
                lambda: guard.scan(photograph),
                lambda: remote.scan(photograph),
                pairs,
                calls,
            ),
            added(
                "`RemoteImageGuard` ÷ `ImageGuard`, `sanitize` of a photo",
                lambda: guard.sanitize(photograph),
                lambda: remote.sanitize(photograph),
                pairs,
                calls,
            ),
        ]
    at_once = together(rounds)
    late = _streams(rounds)
    return {
        "processor": processor(),
        "comparisons": [vars(item.cpu) for item in found],
        "elapsed": [vars(item.elapsed) for item in found],
        "at_once": at_once,
        "streaming_ms": late,
        "tables": {"serving_overhead": overhead_table(found, at_once, late)},
    }


def added(name: str, base: Call, other: Call, pairs: int, calls: int) -> Added:
    """Time two calls in the order ABBA, by the CPU time of the process and the time elapsed."""
    for warm_up in (base, other):
        _seconds(warm_up, calls)
    times = np.empty((pairs, 2, 2))
    for pair in times:
        first, second, third, fourth = (
            _seconds(call, calls) for call in (base, other, other, base)
        )
        pair[0], pair[1] = (first + fourth) / 2, (second + third) / 2
    cpu, elapsed = (comparison(name, times[:, 0, kind], times[:, 1, kind]) for kind in (0, 1))
    return Added(cpu, elapsed)


def overhead_table(found: Sequence[Added], at_once: dict[str, Any], late: dict[str, Any]) -> Table:
    """The table of the documentation."""
    rows = [[item.cpu.name, str(item.cpu), _ms(item.cpu.added_us)] for item in found]
    rows.append(
        [
            f"{CALLERS} requests one after the other ÷ at once, on a device that gains by batches",
            f"{interval(at_once['ratio'], at_once['low'], at_once['high'], '.2f')} elapsed; "
            f"{at_once['serial_passes']} ÷ {at_once['passes']} passes",
            "",
        ]
    )
    rows.append(
        [
            "a chunk of an upstream's stream, with and without the guard between",
            "",
            f"{late['added']:.2f} ({late['low']:.2f}–{late['high']:.2f})",
        ]
    )
    note = (
        f"Medians of {found[0].cpu.pairs} interleaved pairs (95% interval) on an {processor()}, a "
        "machine that others used, too. CPU time of client and server together, but for the last "
        "two rows, which are of elapsed time. "
        "Guard and model are trivial: a ratio says little, and the milliseconds are what a server "
        f"adds to any. The photo is a JPEG of {SIDE} × {SIDE}. A pass of the device's double takes "
        f"{1000 * PASS_SECONDS:.0f} ms."
    )
    head = ["what ÷ what", "ratio", "added ms"]
    return table(head, rows, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--calls", type=int, default=10, help="calls per timing")
    parser.add_argument("--rounds", type=int, default=20, help="of requests at once, and streams")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    result = measure(options.pairs, options.calls, options.rounds)
    console = Console(width=150)
    for row in result["tables"]["serving_overhead"]["rows"]:
        console.print(" | ".join(row))
    if is_noisy(result["comparisons"][0]["ratio"]):
        console.print("void: a call differs from itself by more than 2%")
        sys.exit(1)
    write_json(options.out, result)
    console.print(f"written: {options.out}")


class _Runner(EchoRunner):
    """Starts no thread for an answer, as the shipped runner starts none."""

    def start_batch(self, rows: Sequence[Sequence[Message]], **options: Any) -> list[Ticket]:
        """The answers, complete already."""
        futures: list[Future[Generated]] = []
        for answer in self.generate_batch(rows, **options):
            futures.append(Future())
            futures[-1].set_result(answer)
        return [Ticket(future, lambda: None) for future in futures]


def _guard(remembered: int = 1024) -> Any:
    """A guard whose scan takes about a millisecond."""
    detection = red_config().detection.model_copy(
        update={"patches": PatchConfig(sizes=(1.0,)), "remembered_verdicts": remembered}
    )
    return red_guard(red_config(detection=detection))


def _decoded_anew(
    data: bytes, policy: object, label: str, decode: Callable[[], Any], *, single: bool
) -> Any:
    return decode()


def _messages(photograph: bytes | None) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [{"type": "text", "text": "What is it?"}]
    if photograph is not None:
        url = f"data:image/jpeg;base64,{base64.b64encode(photograph).decode()}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    return [{"role": "user", "content": content}]


def _streams(rounds: int) -> dict[str, float]:
    """How much later chunks arrive through the guard, in milliseconds: median of the rounds."""
    with ExitStack() as stack:
        upstream = stack.enter_context(listening(clock_upstream(_CHUNKS, _PAUSE)))
        options = ServeOptions(ServeConfig(upstream=f"{upstream}/v1"))
        through = stack.enter_context(listening(create_app(red_guard(), options)))
        client = stack.enter_context(httpx.Client(trust_env=False))

        def delay(url: str) -> float:
            body = {"model": "m", "stream": True, "messages": _messages(None)}
            delays = []
            with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: {"):
                        delays.append(time.perf_counter() - json.loads(line[6:])["at"])
            return float(np.median(delays))

        pairs = np.array([(delay(upstream), delay(through)) for _ in range(rounds + 1)][1:])
    differences = 1000 * (pairs[:, 1] - pairs[:, 0])
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(differences, (4000, len(differences))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return {"added": float(np.median(differences)), "low": float(low), "high": float(high)}


def _seconds(call: Call, calls: int) -> NDArray[np.float64]:
    """Mean seconds per call: of the CPU, and elapsed."""
    start = np.array((time.process_time(), time.perf_counter()))
    for _ in range(calls):
        call()
    return (np.array((time.process_time(), time.perf_counter())) - start) / calls


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f}"


if __name__ == "__main__":
    main()
