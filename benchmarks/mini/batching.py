"""Whether verdicts and answers depend on the batch: `python -m benchmarks.mini.batching`.

Fresh scenes are scanned and answered in batches of 50, and again, shuffled, in batches of 7. The
exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from benchmarks.guards import without_memory
from guardalign_middleware import GuardAlign, GuardedReply
from guardalign_middleware.mini.requests import Request, harmful_requests


def answers(
    chain: GuardAlign, requests: Sequence[Request], order: Sequence[int], size: int
) -> dict[int, GuardedReply]:
    """Replies by request number, from batches of `size` in the given order."""
    replies: dict[int, GuardedReply] = {}
    starts = range(0, len(order), size)
    for start in track(starts, description=f"batches of {size}"):
        part = order[start : start + size]
        found = chain.batch([requests[index].messages() for index in part])
        replies.update(zip(part, found, strict=True))
    return replies


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=500, help="number of scenes")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chain = GuardAlign.from_config(without_memory("mini"))
    requests = harmful_requests(options.n, seed=options.seed, split="reported")
    first = answers(chain, requests, list(range(options.n)), 50)
    shuffled = np.random.default_rng(options.seed).permutation(options.n).tolist()
    second = answers(chain, requests, shuffled, 7)
    texts = sum(first[index].text != second[index].text for index in first)
    decisions = sum(first[index].verdicts != second[index].verdicts for index in first)
    Console().print(f"{options.n} scenes: {decisions} verdicts and {texts} answers differ")
    sys.exit(bool(texts or decisions))


if __name__ == "__main__":
    main()
