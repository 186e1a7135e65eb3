"""The programs that `guardalign init` prints at its end run as they are printed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import openai
import pytest
import typer
from fastapi.testclient import TestClient
from langchain_core.language_models import FakeListChatModel
from llama_index.core.llms import MockLLM
from PIL import Image

from guardalign_middleware import GuardAlign, GuardAlignConfig, ImageGuard
from guardalign_middleware.cli import app
from guardalign_middleware.config import ServeConfig
from guardalign_middleware.first_day.programs import programs
from guardalign_middleware.handles import LazyChain, LazyGuard
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_chain, red_guard
from tests.docs.pages import text_of
from tests.support.upstream import Recorded, recording

MINI = GuardAlignConfig.load("mini")
ALONE = MINI.model_copy(update={"runner": None})
CLIENT = "OpenAI client"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a photo, and where adapters get doubles of the models."""
    Image.new("RGB", (64, 64), "white").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    chain = red_chain(MINI)
    monkeypatch.setattr(LazyChain, "_load", lambda _: chain)
    monkeypatch.setattr(LazyGuard, "_load", lambda _: chain.guard)
    monkeypatch.setattr("guardalign_middleware.handles.check_guard", lambda _: None)
    monkeypatch.setattr("guardalign_middleware.handles.check_chain", lambda _: None)
    monkeypatch.setattr(GuardAlignConfig, "load", lambda _: MINI)
    return tmp_path


def program(folder: Path, name: str, *, local: bool) -> str:
    return dict(programs(folder / "guard.yaml", MINI if local else ALONE))[name]


def other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubles for two packages of other models."""
    chat, llm = ModuleType("langchain_openai"), ModuleType("llama_index.llms.openai")
    chat.ChatOpenAI = lambda model: FakeListChatModel(responses=[model])  # type: ignore[attr-defined]
    llm.OpenAI = lambda model: MockLLM()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langchain_openai", chat)
    monkeypatch.setitem(sys.modules, "llama_index.llms.openai", llm)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("name", ["LangChain", "LlamaIndex"])
def test_a_program_of_a_framework_runs(
    folder: Path,
    name: str,
    local: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other_models(monkeypatch)
    exec(compile(program(folder, name, local=local), name, "exec"), {})
    assert "What is in the picture?" in (said := capsys.readouterr().out) or "gpt-5.4" in said


def test_the_page_shows_them_as_they_are_printed() -> None:
    page = text_of("docs/first-real-model.md")
    config = MINI.model_copy(update={"name": "guard"})
    preset = Path("/home/you/guard.yaml")
    for what, lines in programs(preset, config):
        shown = lines.replace(preset.resolve().as_posix(), str(preset))
        assert f"\n{what}\n{shown}\n" in page


def test_names_of_files_and_models_are_quoted() -> None:
    preset, served = Path("/home/you/odd dir #1/guard.yaml"), {"model_name": 'the "best" one'}
    config = MINI.model_copy(update={"serve": MINI.serve.model_copy(update=served)})
    lines = dict(programs(preset, config))[CLIENT]
    command = shlex.split(lines.splitlines()[0].removeprefix("# "))
    assert command[-2:] == ["--preset", preset.resolve().as_posix()]
    compile(lines, CLIENT, "exec")
    assert repr('the "best" one') in lines


@contextmanager
def reached(
    served: GuardAlign | ImageGuard, config: ServeConfig, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """OpenAI's client reaches the server at the address that the program names."""
    made = openai.OpenAI
    options = ServeOptions.read(config)
    with TestClient(create_app(served, options), base_url="http://127.0.0.1:8000") as server:
        monkeypatch.setattr(openai, "OpenAI", lambda **more: made(**more, http_client=server))
        yield


def test_the_program_of_a_client_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with reached(red_chain(MINI), MINI.serve, monkeypatch):
        exec(compile(program(folder, CLIENT, local=True), CLIENT, "exec"), {})
    assert "What is in the picture?" in capsys.readouterr().out


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_before_another_service_the_server_has_the_key_and_the_client_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = program(folder, CLIENT, local=False)
    command = lines.splitlines()[0].removeprefix("# while this runs: guardalign serve ").split()
    group: Any = typer.main.get_command(app)
    asked = group.commands["serve"].make_context("serve", command).params
    assert asked["upstream"] == "https://api.openai.com/v1"
    assert asked["upstream_key_env"] == "OPENAI_API_KEY"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-server")
    recorded = Recorded()
    with recording(recorded) as url:
        config = ServeConfig(upstream=f"{url}/v1", upstream_key_env=asked["upstream_key_env"])
        with reached(red_guard(ALONE), config, monkeypatch):
            exec(compile(lines, CLIENT, "exec"), {})
    assert recorded.headers["authorization"] == "Bearer sk-of-the-server"
    assert recorded.body["model"] == "gpt-5.4"
    assert "Blue thing" in capsys.readouterr().out
