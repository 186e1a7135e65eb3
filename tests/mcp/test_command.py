"""`guardalign mcp`: what it refuses at once, and its whole life between client and server."""

from __future__ import annotations

import base64
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import ImageContent
from typer.testing import CliRunner

from guardalign_middleware import local_extra
from guardalign_middleware.cli import app
from guardalign_middleware.cli import mcp as command
from guardalign_middleware.config import ServeConfig
from guardalign_middleware.mcp import Handling
from guardalign_middleware.mcp import server as mcp_server
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import has_red, open_png, picture, png, red_guard
from guardalign_middleware.testing.pdf import RED_PAGE, drawn_pdf
from tests.support.serving import served

ROOT = Path(__file__).parents[2]
KEY = "a-key-of-sixteen-characters"
# The command, in a process in which torch is as absent as if it were not installed.
LIGHT = """
import sys
from tests.support.light_process import Absent
sys.meta_path.insert(0, Absent())
from guardalign_middleware.cli import main
main()
"""


@pytest.fixture(autouse=True)
def _no_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handlers of a program would stay for the tests of others."""
    monkeypatch.setattr(command, "_log_to_stderr", lambda: None)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["mcp", *arguments])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Give the command of an MCP server after --"),
        (["--url", "http://a/mcp", "--", "cat"], "Give the command"),
        (["--port", "1", "--", "cat"], "--host and --port need --url"),
        (["--preset", "mini", "--guard-url", "http://127.0.0.1:1", "--", "cat"], "not both"),
        (["--mode", "observe", "--guard-url", "http://127.0.0.1:1", "--", "cat"], "--mode is for"),
        (["--guard-key-env", "NAME", "--", "cat"], "need --guard-url"),
        (["--guard-allow-http", "--", "cat"], "need --guard-url"),
        (["--guard-url", "http://a.example", "--", "cat"], "without encryption"),
        (
            ["--guard-url", "http://127.0.0.1:1", "--guard-key-env", "NO_SUCH", "--", "cat"],
            "NO_SUCH is not set",
        ),
        (["--preset", "no-such-preset", "--", "cat"], "no-such-preset"),
        (["--url", "a.example"], "--url should start with"),
        (["--on-unsafe", "flag", "--", "cat"], "flag"),
    ],
)
def test_what_it_refuses(arguments: list[str], reason: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 3
    assert reason in " ".join(result.output.split())


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_extra, "find_spec", lambda name: None if name == "uvicorn" else name)
    result = invoke("--url", "http://127.0.0.1:1/mcp")
    assert result.exit_code == 3
    assert "guardalign-core[mcp]" in " ".join(result.output.split())


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options, with a double in the place of the proxy."""
    found: dict[str, Any] = {}

    class Proxy:
        def __init__(self, guard: Any) -> None:
            found["guard"] = guard

        async def run(self, command: Any) -> int:
            found["command"] = command
            return 9

    monkeypatch.setattr(command, "StdioProxy", Proxy)
    return found


def test_options_of_the_server_are_its_own(seen: dict[str, Any]) -> None:
    options = ["--on-unsafe", "block", "--on-refused", "raise", "--allow-unscanned"]
    for rest in (["--", "npx", "-y", "--preset", "x"], ["npx", "-y", "--preset", "x"]):
        assert invoke(*options, *rest).exit_code == 9
        assert seen["command"] == ["npx", "-y", "--preset", "x"]
        assert seen["guard"]._handling == Handling("block", "raise", True)


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_the_guard_is_in_the_mode_that_is_asked_for(seen: dict[str, Any], mode: str) -> None:
    assert invoke("--mode", mode, "--", "cat").exit_code == 9
    assert seen["guard"]._make().config.mode == mode


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_proxy_for_http_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    guards = []

    def serve(guard: Any, upstream: Any, bound: Any) -> int:
        guards.append((upstream.path, bound.getsockname()[0]))
        return 128 + signal.SIGINT

    monkeypatch.setattr(mcp_server, "serve", serve)
    monkeypatch.setattr(command.MessageGuard, "load", lambda self: None)
    result = invoke("--url", "https://mcp.example/v1/mcp?key=canary", "--port", "0")
    assert result.exit_code == 130
    assert guards == [("/v1/mcp", "127.0.0.1")]
    assert "canary" not in result.output


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
async def test_a_light_proxy_with_a_guard_elsewhere(tmp_path: Path) -> None:
    """With the official client, and a server that is a process of its own."""
    (tmp_path / "unsafe.png").write_bytes(png(picture(red=True)))
    (tmp_path / "safe.png").write_bytes(png(picture()))
    (tmp_path / "report.pdf").write_bytes(drawn_pdf(RED_PAGE))
    options = ServeOptions(ServeConfig(), api_key=KEY)
    with served(create_app(red_guard(), options)) as url:
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-c", LIGHT, "mcp", "--guard-url", url, "--guard-key-env", "GUARD_KEY", "--"]
            + [sys.executable, str(ROOT / "tests/support/mcp_server.py"), str(tmp_path)],
            env={**os.environ, "GUARD_KEY": KEY, "PYTHONPATH": str(ROOT)},
        )
        async with (
            stdio_client(parameters) as (incoming, outgoing),
            ClientSession(incoming, outgoing) as client,
        ):
            await client.initialize()
            tools = {tool.name for tool in (await client.list_tools()).tools}
            results = {name: await client.call_tool(name, {}) for name in tools}
    for name in ("screenshot", "screen_in_words", "logo"):
        (shot,) = [each for each in results[name].content if isinstance(each, ImageContent)]
        assert not has_red(open_png(base64.b64decode(shot.data))), name
    raw = base64.b64encode(png(picture(red=True))).decode()
    assert not any(raw in result.model_dump_json() for result in results.values())
    assert "not shown" in results["report"].model_dump_json()
    assert "https://example.org/a.png" in results["found"].model_dump_json()
