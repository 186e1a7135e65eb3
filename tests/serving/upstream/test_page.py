"""The page about upstreams says what is so, and its code runs as it is printed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.testing import picture, png
from tests.support.serving import KEY
from tests.support.upstream import Recorded

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "upstream.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_code(
    url: str,
    recorded: Recorded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GUARD_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(png(picture(red=True)))
    said = []
    for code in blocks("python"):  # each stands by itself
        names: dict[str, Any] = {}
        exec(compile(code.replace("http://127.0.0.1:8000", url), "upstream.md", "exec"), names)
        said.append(capsys.readouterr().out)
    assert said == ["Blue thing\nmask off\n", "Blue thing", "chat False None\nimage_url\n"]


def test_the_settings_are_the_defaults() -> None:
    (block,) = blocks("yaml")
    given = yaml.safe_load(block)["serve"]
    assert ServeConfig(**given) == ServeConfig(upstream=given["upstream"])


def test_the_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (DOCS / link).exists(), link
