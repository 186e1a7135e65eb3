"""Without the extra, the command says what to install."""

from typing import Any

import pytest
from typer.testing import CliRunner

from guardalign_middleware.cli import app, serve
from guardalign_middleware.cli import playground as command
from guardalign_middleware.playground import extra


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "_NEEDED", ("no_such_library",))
    for arguments in (["playground"], ["serve", "--playground"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 3
        said = " ".join(result.output.split())
        assert "needs no_such_library" in said
        assert "[playground]" in said


def test_the_command_serves_this_machine_and_opens_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}

    def served(preset: str, options: dict[str, Any], **more: Any) -> int:
        seen.update(preset=preset, options=options, playground=more["playground"])
        more["on_listening"]("http://127.0.0.1:1")
        return 0

    def timer(seconds: float, call: Any, arguments: list[str]) -> Any:
        seen["opened"] = arguments
        return seen.setdefault("timer", type("Timer", (), {"start": lambda self: None})())

    monkeypatch.setattr(serve, "run_serve", served)
    monkeypatch.setattr(command.threading, "Timer", timer)
    assert CliRunner().invoke(app, ["playground", "--port", "0"]).exit_code == 0
    assert (seen["preset"], seen["playground"]) == ("mini", True)
    assert seen["options"] == {"host": "127.0.0.1", "port": 0}
    assert seen["opened"] == ["http://127.0.0.1:1/playground/"]
    del seen["opened"]
    assert CliRunner().invoke(app, ["playground", "--no-browser"]).exit_code == 0
    assert "opened" not in seen
