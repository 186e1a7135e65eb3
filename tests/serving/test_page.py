"""The page about the server says what is so, and its code runs as it is printed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import picture, png, red_chain
from tests.support.serving import served

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "serve.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_code_of_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(png(picture(red=True)))
    names: dict[str, Any] = {}
    said = []
    with served(create_app(red_chain(), ServeOptions(ServeConfig(model_name="mini")))) as url:
        for code in blocks("python")[:2]:
            exec(compile(code.replace("http://127.0.0.1:8000", url), "serve.md", "exec"), names)
            said.append(capsys.readouterr().out.splitlines())
        names["client"].close()
        names["guard"].close()
    assert said[0][-1] == "mask"
    assert said[1] == ["mask True"]


@pytest.mark.slow
def test_the_code_of_an_own_server() -> None:
    names: dict[str, Any] = {}
    exec(compile(blocks("python")[2], "serve.md", "exec"), names)
    assert isinstance(names["app"], FastAPI)


def test_the_endpoints_are_there() -> None:
    # One is answered with a 404, and the other is a page for people.
    others = {"/v1/completions", "/playground"}
    listed = set(re.findall(r"`(/[a-z0-9_/]+)`", PAGE)) - others
    assert listed <= set(create_app(red_chain()).openapi()["paths"])
    assert len(listed) >= 10


def test_the_settings_are_the_defaults() -> None:
    (block,) = blocks("yaml")
    assert ServeConfig(**yaml.safe_load(block)["serve"]) == ServeConfig()


def test_the_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (DOCS / link).exists(), link
