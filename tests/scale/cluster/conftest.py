"""The cluster of these tests, which is there in the environment that `make ray` makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Ray on this machine, with guards that find red."""
    if find_spec("ray") is None:
        pytest.skip("only in the environment of `make ray`")
    from guardalign_middleware.scale.cluster import give_token
    from guardalign_middleware.scale.proxy import set_up_proxies
    from tests.support.ray_red import set_up_worker

    os.environ["PYTHONPATH"] = str(ROOT)
    # On a busy machine, its processes would wait for all others.
    os.environ["RAY_worker_niceness"] = "0"
    set_up_proxies()
    give_token(os.environ)
    import ray

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        runtime_env={"worker_process_setup_hook": set_up_worker},
    )
    yield ray
    ray.shutdown()
