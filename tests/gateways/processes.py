"""Servers in processes of their own, that end with the test that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
GUARD_KEY = "a-key-for-the-tests"
_SECONDS = 240


@contextmanager
def guard_server() -> Iterator[str]:
    """The guard in the project's own environment; gives its URL."""
    python = os.environ.get("GUARD_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
    command = [python, "-m", "tests.gateways.guard_server"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url, "the guard did not start"
        yield url
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


@contextmanager
def litellm_proxy(config: Path, port: int, env: Mapping[str, str]) -> Iterator[str]:
    """LiteLLM's own command with a config; gives its URL once it answers."""
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(config)]
    log = config.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=config.parent,
            env={**os.environ, **env, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{url}/health/liveliness", process, log)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            if httpx.get(url, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the proxy did not start:\n{log.read_text()[-4000:]}")
