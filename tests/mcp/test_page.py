"""The page about MCP says what is so, and what is on it runs as it is printed."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from guardalign_middleware.cli import app, mcp_command
from guardalign_middleware.cli import mcp as command
from guardalign_middleware.mcp.messages import FAULT, WITHHELD
from guardalign_middleware.serving import create_app
from guardalign_middleware.testing import holds_raw, picture, png, red_guard
from tests.mcp.positions import FROM_CLIENTS, FROM_SERVERS
from tests.support.serving import served

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")
KINDS = {"mcpServers", "servers"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def settings() -> list[dict[str, Any]]:
    found = [json.loads(block) for block in blocks("json")]
    assert all(len(each) == 1 and set(each) <= KINDS for each in found)
    return [server for each in found for servers in each.values() for server in servers.values()]


def typed() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    shell = [shlex.split(line) for line in lines if line.startswith("guardalign ")]
    return [*shell, *([each["command"], *each["args"]] for each in settings() if "args" in each)]


@pytest.mark.parametrize("line", typed(), ids=range(len(typed())))
def test_the_commands(line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(server: list[str], **options: Any) -> int:
        seen.update(options, server=server)
        return 0

    monkeypatch.setattr(command, "run_mcp", run)
    assert line[:2] == ["guardalign", "mcp"]
    result = CliRunner().invoke(app, line[1:])
    assert result.exit_code == 0, result.output
    assert seen["server"][:1] == ([] if seen["url"] else ["npx"])
    assert seen["where"].preset or seen["where"].guard_url


def test_the_address_is_that_of_the_proxy() -> None:
    (remote,) = [each for each in settings() if "url" in each]
    (line,) = [each for each in typed() if "--url" in each]
    assert remote["url"] == f"http://127.0.0.1:{line[line.index('--port') + 1]}/mcp"


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unsafe.png").write_bytes(png(picture(red=True)))
    (code,) = blocks("python")
    server = [sys.executable, str(ROOT / "tests/support/mcp_server.py"), str(tmp_path)]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(ROOT)
    names: dict[str, Any] = {"server": server}
    with served(create_app(red_guard())) as url:
        own = str(Path(sys.executable).with_name("guardalign"))
        code = code.replace("http://127.0.0.1:8000", url).replace('"guardalign"', repr(own))
        exec(compile(code, "mcp.md", "exec"), names)
    assert capsys.readouterr().out == "image\n"
    assert not holds_raw(names["shown"], png(picture(red=True)))


def test_the_numbers() -> None:
    assert f"{len(FROM_SERVERS) + len(FROM_CLIENTS)} positions" in PAGE
    assert f"code {FAULT}" in PAGE
    assert f"withholds {WITHHELD}" in PAGE


def test_the_options_are_there() -> None:
    result = CliRunner().invoke(app, ["mcp", "--help"], env={"COLUMNS": "200"})
    options = set(re.findall(r"--[a-z][a-z-]+", PAGE)) - {"--api-key-env"}
    assert options <= set(re.findall(r"--[a-z][a-z-]+", result.output))
    assert mcp_command.mcp.__doc__


def test_the_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
