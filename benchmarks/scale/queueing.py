"""How long requests wait for servers: a simulation of queues, for planning.

Requests come at random, go to the server with fewer requests of two that are drawn, and wait there
in order, as with Ray Serve. A server on a CPU scans one picture after another; one on a GPU takes
what waits into one pass.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Servers:
    """What requests come to.

    Attributes:
        count: of servers.
        together: requests that one takes into a pass; 1 = one after another.
        places: requests at work or waiting on each server; more are refused.
        choices: servers that are drawn for a request; the one with fewer requests gets it.
    """

    count: int
    together: int = 1
    places: int = 64
    choices: Literal[1, 2] = 2


@dataclass(frozen=True)
class Waits:
    """What became of requests.

    Attributes:
        seconds: from the arrival to the answer, of those that were answered, in order of arrival.
        refused: share of all.
        busy: share of the servers' time.
    """

    seconds: NDArray[np.float64]
    refused: float
    busy: float

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the answers came."""
        return float(np.quantile(self.seconds, share))


def arrivals(rate: float, count: int, seed: int = 0) -> NDArray[np.float64]:
    """The times of requests that come independently of one another.

    Args:
        rate: per second.
        count: of requests.
        seed: of the random numbers.
    """
    return np.cumsum(np.random.default_rng((7, seed)).exponential(1.0 / rate, count))


def simulate(
    times: Sequence[float] | NDArray[np.float64],
    seconds: Sequence[float] | NDArray[np.float64],
    servers: Servers,
    seed: int = 0,
) -> Waits:
    """Follow every request.

    Args:
        times: of the arrivals, ascending.
        seconds: that each takes alone; of those that share a pass, the longest counts.
        servers: what they come to.
        seed: of the choices.
    """
    rng = np.random.default_rng((8, seed))
    first = rng.integers(servers.count, size=len(times))
    # The other one is another one, unless there is only one.
    step = rng.integers(1, max(2, servers.count), size=len(times))
    drawn = np.stack([first, (first + step) % servers.count], axis=1)[:, : servers.choices].tolist()
    queues: list[deque[int]] = [deque() for _ in range(servers.count)]
    at_work: list[list[int]] = [[] for _ in range(servers.count)]
    ends: list[tuple[float, int]] = []
    took = np.full(len(times), np.nan)
    busy = 0.0

    def begin(server: int, now: float) -> None:
        nonlocal busy
        queue = queues[server]
        passed = [queue.popleft() for _ in range(min(servers.together, len(queue)))]
        at_work[server] = passed
        if passed:
            length = max(seconds[one] for one in passed)
            busy += length
            heapq.heappush(ends, (now + length, server))

    def finish(until: float) -> None:
        while ends and ends[0][0] <= until:
            now, server = heapq.heappop(ends)
            for one in at_work[server]:
                took[one] = now - times[one]
            begin(server, now)

    for number, now in enumerate(times):
        finish(now)
        server = min(drawn[number], key=lambda one: len(queues[one]) + len(at_work[one]))
        if len(queues[server]) + len(at_work[server]) >= servers.places:
            continue
        queues[server].append(number)
        if not at_work[server]:
            begin(server, now)
    finish(np.inf)
    answered = took[~np.isnan(took)]
    span = float(times[-1] - times[0]) or 1.0
    return Waits(answered, 1.0 - len(answered) / len(times), min(1.0, busy / servers.count / span))


def servers_for(
    rate: float, seconds: float, target: float, *, together: int = 1, count: int = 20_000
) -> int:
    """Fewest servers with which 99 of 100 answers come within a time.

    Args:
        rate: requests per second.
        seconds: that one takes alone, each the same.
        target: seconds; more than one takes.
        together: as for `Servers`.
        count: of requests that are simulated.

    Raises:
        ValueError: the target is not longer than a request takes.
    """
    if target <= seconds:
        raise ValueError(f"The target should be more than {seconds} s. Received {target}.")
    times = arrivals(rate, count)
    servers = max(1, int(np.ceil(rate * seconds / together)))
    while True:
        waits = simulate(times, np.full(count, seconds), Servers(servers, together, places=10_000))
        if waits.quantile(0.99) <= target:
            return servers
        servers += 1
