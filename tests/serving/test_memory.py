"""The memory of a server under more load than it takes."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import EchoRunner, data_url, red_chain
from guardalign_middleware.types import CanonicalImage
from tests.support.server_process import process
from tests.support.serving import AUTHORIZED, KEY

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PLACES, CLIENTS = 2, 10
SIDE = 64
TEXT = 300_000
MOST_GROWTH = 10 * 2**20
CUT = 0
"""Instead of the status of a refusal that came while the body was still being sent."""


def two_places(_: int) -> FastAPI:
    runner = EchoRunner()
    runner.calls = deque(maxlen=0)  # type: ignore[assignment]  # it would keep every request
    chain = red_chain(runner=runner)
    return create_app(chain, ServeOptions(ServeConfig(max_requests=PLACES), api_key=KEY))


def noise(seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return data_url(CanonicalImage(pixels))


def ask(client: httpx.Client, seed: int) -> int:
    """Status of the answer to a request with a picture of its own."""
    content = [
        {"type": "image_url", "image_url": {"url": noise(seed)}},
        {"type": "text", "text": f"{seed} ".ljust(TEXT, "a")},
    ]
    body = {"model": "red", "messages": [{"role": "user", "content": content}]}
    try:
        return client.post("/v1/chat/completions", json=body).status_code
    except httpx.TransportError:
        return CUT


def test_five_times_what_it_takes_does_not_grow_its_memory() -> None:
    with (
        process(two_places) as server,
        httpx.Client(base_url=server.url, headers=AUTHORIZED, timeout=60) as client,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):

        def load(first: int, requests: int) -> list[int]:
            seeds = range(first, first + requests)
            return list(clients.map(lambda seed: ask(client, seed), seeds))

        # Threads and caches are made once.
        for seed in range(15):
            ask(client, seed)
        load(1000, 12 * CLIENTS)
        before = server.memory
        assert [ask(client, seed) for seed in range(2000, 2060)] == [200] * 60
        statuses = load(3000, 12 * CLIENTS)
        # The texts alone, if they stayed, would be twice as much.
        assert server.memory - before < MOST_GROWTH
        assert set(statuses) <= {200, 429, CUT}
        assert ask(client, 5000) == 200
