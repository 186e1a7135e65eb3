"""The code and the settings on the pages work as they are printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from guardalign_middleware.config import IntakePolicy, OutputConfig, WordsConfig
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.testing import png
from guardalign_middleware.types import CanonicalImage

DOCS = Path(__file__).parents[1] / "docs"
SECTIONS = {"intake": IntakePolicy, "output": OutputConfig, "words": WordsConfig}


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.slow
def test_the_python_of_the_page_about_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (scene,) = [item for item in demo_scenes() if item.name == "pistol-apple"]
    (tmp_path / "guardalign-demo").mkdir()
    picture = tmp_path / "guardalign-demo" / "04-pistol-apple.png"
    picture.write_bytes(png(CanonicalImage(scene.scene.pixels)))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in blocks("output.md", "python"):
        exec(compile(code, "output.md", "exec"), names)
    assert names["cleaned"].verdict.decision == "mask"
    assert capsys.readouterr().out.startswith("image/png ")


@pytest.mark.parametrize("page", ["output.md", "pdf.md", "words.md"])
def test_the_settings_exist(page: str) -> None:
    found = [yaml.safe_load(block) for block in blocks(page, "yaml")]
    assert found
    for settings in found:
        for name, section in settings.items():
            assert SECTIONS[name].model_validate(section)


def test_the_defaults_of_the_page_about_output_are_those() -> None:
    (block,) = blocks("output.md", "yaml")
    assert OutputConfig.model_validate(yaml.safe_load(block)["output"]) == OutputConfig()


@pytest.mark.parametrize("page", ["output.md", "pdf.md", "suites.md", "words.md"])
def test_the_links_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (DOCS / link).exists(), link
