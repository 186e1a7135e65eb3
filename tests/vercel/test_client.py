"""The server through Vercel's AI SDK, in node; `make vercel` installs it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import all_red, picture, png, red_chain
from guardalign_middleware.types import CanonicalImage
from tests.support.serving import KEY, served

HERE = Path(__file__).parent
NODE = shutil.which("node")
pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.skipif(
        NODE is None or not (HERE / "node_modules").is_dir(), reason="needs node, and `make vercel`"
    ),
]
PROVIDERS = ("compatible", "chat", "responses")


def ask(image: CanonicalImage, provider: str, *, stream: bool = False, key: str = KEY) -> Any:
    with served(create_app(red_chain(), ServeOptions(api_key=KEY))) as url:
        asked = {"url": url, "key": key, "provider": provider, "stream": stream}
        asked["picture"] = base64.b64encode(png(image)).decode()
        assert NODE is not None
        done = subprocess.run(
            [NODE, str(HERE / "client.mjs")],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_picture_is_answered(provider: str) -> None:
    told = ask(picture(red=True), provider)
    assert told["text"] == "echo: what is it? [1 image]"
    assert told["reason"] == "stop"
    assert told["tokens"] == 6


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_answer_is_streamed(provider: str) -> None:
    told = ask(picture(), provider, stream=True)
    assert "".join(told["pieces"]) == "echo: what is it? [1 image]"
    assert len(told["pieces"]) > 3
    assert told["reason"] == "stop"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_blocked_picture_is_filtered(provider: str) -> None:
    assert ask(all_red(), provider)["reason"] == "content-filter"


def test_a_wrong_key_is_an_error_of_the_client() -> None:
    assert ask(picture(), "chat", key="another")["status"] == 401
