"""Waiting times of real servers against the simulation: `python -m benchmarks.scale.replicas`.

Two servers of Ray Serve, the whole way from Ray's proxy to the answer, with a double of a device
whose passes take 100 ms and leave the CPU free, so that a busy machine disturbs little. Requests
come at random at several rates, each on its own connection; the simulation gets the same times of
arrival, and the time that a request takes alone. Run it in the environment of `make ray`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.results import RESULTS, ROOT, write_json
from benchmarks.scale.queueing import Servers, Waits, arrivals, simulate
from benchmarks.tables import Table, table
from guardalign_middleware.bench.device import processor
from guardalign_middleware.config import ServeConfig
from guardalign_middleware.scale.cluster import joined
from guardalign_middleware.testing import data_url, picture

RESULT = RESULTS / "ray_serve.json"
SERVERS = 2
PASS_SECONDS = 0.1
LOADS = (0.3, 0.6, 0.85)
_ALONE = 20
_SECONDS = 120.0


def measure(requests: int) -> dict[str, Any]:
    """Every load, and the same simulated.

    Args:
        requests: at each load.
    """
    os.environ["PYTHONPATH"] = str(ROOT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with joined("local"):
        from ray import serve

        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(application(), name="waits", route_prefix="/")
        url = f"http://127.0.0.1:{port}/v1/guard/scan"
        try:
            alone = float(
                np.median(
                    asyncio.run(ask(url, np.arange(_ALONE, dtype=np.float64) * 4 * PASS_SECONDS))
                )
            )
            rows = [_row(url, load, requests, alone) for load in LOADS]
        finally:
            serve.shutdown()
    busy = os.getloadavg()[1]
    return {
        "processor": processor(),
        "alone": alone,
        "machine_load": busy,
        "loads": rows,
        "tables": {"scale_waits": waits_table(rows, alone, requests, busy)},
    }


def application() -> Any:
    """The server's app with a device's double, on two servers."""
    from ray import serve

    limits = ServeConfig()
    made = serve.deployment(
        serve.ingress()(Slow),
        num_replicas=SERVERS,
        max_ongoing_requests=limits.max_requests,
        ray_actor_options={"num_cpus": 0.25},
    )
    return made.bind()


class Slow:
    """One server: a scan takes as long for every picture."""

    def __serve_build_asgi_app__(self) -> Any:
        from benchmarks.scale.slow_guard import slow_guard
        from guardalign_middleware.serving import create_app

        return create_app(slow_guard(PASS_SECONDS))


async def ask(url: str, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds of each request; every one begins at its time, whatever became of those before.

    Raises:
        httpx.HTTPStatusError: one was refused.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=_SECONDS, limits=limits, trust_env=False) as client:
        began = time.perf_counter()

        async def one(number: int, at: float) -> float:
            # Pictures that differ: one that was seen before costs nothing.
            scene = picture(colour=(number % 200, number // 200 % 200, 100))
            body = {"images": [{"image": data_url(scene)}]}
            await asyncio.sleep(max(0.0, began + at - time.perf_counter()))
            start = time.perf_counter()
            (await client.post(url, json=body)).raise_for_status()
            return time.perf_counter() - start

        return np.array(await asyncio.gather(*(one(*item) for item in enumerate(times))))


def _row(url: str, load: float, requests: int, alone: float) -> dict[str, float]:
    times = arrivals(load * SERVERS / PASS_SECONDS, requests, seed=int(100 * load))
    took = asyncio.run(ask(url, times))
    # The way to a server and back keeps no server busy.
    waits = simulate(times, np.full(requests, PASS_SECONDS), Servers(SERVERS, places=requests))
    told = Waits(waits.seconds + alone - PASS_SECONDS, waits.refused, waits.busy)
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    measured = {name: float(np.quantile(took, share)) for name, share in quantiles.items()}
    simulated = {f"{name}_simulated": told.quantile(share) for name, share in quantiles.items()}
    return {"load": load, **measured, **simulated}


def waits_table(
    rows: Sequence[dict[str, float]], alone: float, requests: int, busy: float
) -> Table:
    """The table of the documentation."""
    head = ["load"]
    cells = [[f"{row['load']:.0%}"] for row in rows]
    for name in ("p50", "p90", "p99"):
        head += [f"{name}, ms", "simulated"]
        for cell, row in zip(cells, rows, strict=True):
            cell += [f"{1e3 * row[key]:.0f}" for key in (name, f"{name}_simulated")]
    note = (
        f"{SERVERS} servers of Ray Serve on an {processor()}, {requests} requests at each load; a "
        f"scan takes {1e3 * PASS_SECONDS:.0f} ms, a request alone {1e3 * alone:.0f} ms. Other work "
        f"kept the machine at a load of {busy:.0f}; the simulation knows of none."
    )
    return table(head, cells, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    result = measure(options.requests)
    console = Console()
    for row in result["loads"]:
        console.print(row)
    write_json(options.out, result)
    console.print(f"written: {options.out}")


if __name__ == "__main__":
    main()
