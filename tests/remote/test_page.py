"""The page about light applications says what is so, and its code runs as it is printed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from llama_index.core.llms.mock import MockLLM

from guardalign_middleware import RemoteImageGuard
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import picture, png, red_guard
from tests.support.remote import KEY, loopback
from tests.support.serving import served

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "remote-guard.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@loopback
def test_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GUARDALIGN_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(png(picture(red=True)))
    names: dict[str, Any] = {
        "model": RunnableLambda(lambda messages: messages[-1]),
        "llm": MockLLM(),
    }
    said = []
    with served(create_app(red_guard(), ServeOptions(api_key=KEY))) as url:
        for code in blocks("python"):
            code = code.replace("http://127.0.0.1:8000", url)
            exec(compile(code, "remote-guard.md", "exec"), names)
            said.append(capsys.readouterr().out.split())
        names["guard"].close()
    assert said[0][0] == "mask"
    assert said[0][1:] != ["None"]
    assert said[1:] == [["mask"], ["mask"], []]


def test_the_defaults_are_those() -> None:
    defaults = inspect.signature(RemoteImageGuard).parameters
    for name in ("timeout", "retries"):
        assert re.findall(rf"    {name}=([\d.]+),", PAGE) == [str(defaults[name].default)]


def test_the_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (DOCS / link).exists(), link
