"""What the README tells people to type works as it stands."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from guardalign_middleware.cli import app

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo was run, as the README has it."""
    folder = tmp_path_factory.mktemp("readme")
    result = CliRunner().invoke(app, ["demo", "--out", str(folder / "guardalign-demo")])
    assert result.exit_code == 0
    return folder


def test_the_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith(".venv/bin/guardalign")]
    assert len(commands) >= 3
    for command in commands:
        assert CliRunner().invoke(app, command).exit_code in {0, 1}, command


@pytest.mark.parametrize("code", blocks("python"), ids=range(len(blocks("python"))))
def test_the_python(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(compile(code, "README.md", "exec"), {})


def test_the_pages_it_links_to_exist() -> None:
    root = Path(__file__).parent.parent
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (root / link).exists(), link
