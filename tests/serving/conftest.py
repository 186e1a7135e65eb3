"""One server for a whole module: the guard that flags red, in front of an echo."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import ScriptedRunner, red_chain
from tests.support.serving import KEY, served

CALL = '<tool_call>\n{"name": "look_up", "arguments": {"word": "fish", "n": 2}}\n</tool_call>'


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(red_chain(), ServeOptions(api_key=KEY))


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as address:
        yield address


@pytest.fixture(scope="module")
def tools_url() -> Iterator[str]:
    chain = red_chain(runner=ScriptedRunner(f"Let me see.{CALL}"))
    with served(create_app(chain, ServeOptions(api_key=KEY))) as address:
        yield address
