"""The Python of pages that no other test runs, as it is printed, on the miniature models."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from guardalign_middleware import ImageGuard
from guardalign_middleware.cli import app
from guardalign_middleware.mini.demo import demo_scenes
from tests.docs.pages import blocks_of
from tests.support.tiny import towers


@functools.cache
def mini_guard() -> ImageGuard:
    return ImageGuard.from_preset("mini")


@pytest.fixture(scope="module")
def after_the_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `guardalign demo` ran, with a photo."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "guardalign-demo").mkdir()
    scenes = demo_scenes()
    for number, item in enumerate(scenes, start=1):
        picture = Image.fromarray(item.scene.pixels)
        picture.save(folder / "guardalign-demo" / f"{number:02}-{item.name}.png")
    Image.fromarray(scenes[0].scene.pixels).save(folder / "photo.jpg")
    return folder


@pytest.fixture
def folder(after_the_demo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader."""
    monkeypatch.chdir(after_the_demo)
    guard = mini_guard()
    monkeypatch.setattr(ImageGuard, "from_preset", lambda preset: guard)
    return after_the_demo


def run_page(page: str, *, together: bool = True) -> list[str]:
    """Runs all Python of a page; what its comments say is printed.

    Args:
        page: its name.
        together: whether a block goes on with the names of those before it.
    """
    names: dict[str, Any] = {}
    promised = []
    for block in blocks_of(f"docs/{page}.md"):
        if block.language != "python":
            continue
        exec(compile(block.code, f"{page}.md", "exec"), names if together else {})
        prints = [line for line in block.code.splitlines() if "print(" in line and "  # " in line]
        promised += [line.split("  # ")[1].split(":")[0].split(",")[0] for line in prints]
    return promised


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param("get-started", marks=pytest.mark.evidence),
        *("troubleshooting", "thresholds", "forms", "observe"),
    ],
)
def test_a_page_runs_as_written(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line that a comment says is printed, is."""
    promised = run_page(page)
    said = capsys.readouterr().out
    if page == "troubleshooting":
        promised = ["unknown_format"]
    for words in promised:
        assert words in said
    assert said


# As in a program, where the deprecations of the frameworks' own code are no errors.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", ["agents", "rag"])
def test_a_page_of_two_frameworks_runs_as_written(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_page(page, together=False)
    said = capsys.readouterr().out
    expected = {"agents": ["['mask']", "True"], "rag": ["mask", "mask", "0 left"]}
    assert said.splitlines() == expected[page]


@pytest.mark.evidence
@pytest.mark.usefixtures("folder")
def test_the_commands_to_get_started() -> None:
    """Those of the README, which are nearly the same, run in every `make test`."""
    blocks = [block for block in blocks_of("docs/get-started.md") if block.language == "sh"]
    lines = [line for block in blocks for line in block.code.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("guardalign ")]
    assert len(commands) > 5
    for command in commands:
        unsafe = command[0] == "scan" and "guardalign-demo/04-pistol-apple.png" in command
        result = CliRunner().invoke(app, command)
        assert result.exit_code == int(unsafe), result.output


@pytest.mark.slow
def test_the_page_about_families() -> None:
    page = "docs/adding-a-model-family.md"
    (block,) = (each for each in blocks_of(page) if each.language == "python")
    names = dict(vars(towers))
    exec(compile(block.code, page, "exec"), names)
    model, processor = names["llava_qwen"]()
    assert model.config.text_config.model_type == "qwen2"
    assert processor.patch_size == 14
