"""What the README tells people to type works as it stands."""

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import guardalign_middleware
from guardalign_middleware.cli import app
from guardalign_middleware.mini.demo import demo_scenes
from tests.docs.test_commands import parse

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the README's commands are typed."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def demo(folder: Path) -> Result:
    """`make demo`, the README's first command."""
    return CliRunner().invoke(app, ["demo", "--out", str(folder / "guardalign-demo")])


@pytest.mark.slow
def test_the_demo_shows_three_answers_and_writes_its_pictures(folder: Path, demo: Result) -> None:
    assert demo.exit_code == 0
    for word in ("unguarded", "prefix", "guarded", "pistol"):
        assert word in demo.stdout
    place = folder / "guardalign-demo"
    scenes = [f"{number:02d}-{item.name}.png" for number, item in enumerate(demo_scenes(), 1)]
    # A scan of them is not one of what was drawn over them, which lies apart.
    assert sorted(file.name for file in place.glob("*.png")) == scenes
    overlays = {file.name for file in (place / "overlays").iterdir()}
    assert overlays == {*scenes, "masked-scene.png"}
    cleaned = {file.name for file in (place / "clean").iterdir()}
    assert {"01-dog-car-tree.png", "04-pistol-apple.png"} <= cleaned <= set(scenes)


@pytest.mark.usefixtures("demo")
@pytest.mark.slow
def test_the_commands(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder / "guardalign-demo", tmp_path / "guardalign-demo")
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    # Others ran already, serve until they are stopped, or need a real model.
    typed = [line for line in lines if line.startswith(("guardalign scan ", "guardalign ask "))]
    commands = [shlex.split(line)[1:] for line in typed if "--preset" not in line]
    assert len(commands) >= 3
    for command in commands:
        assert CliRunner().invoke(app, command).exit_code in {0, 1}, command


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("code", blocks("python"), ids=range(len(blocks("python"))))
@pytest.mark.slow
def test_the_python(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(compile(code, "README.md", "exec"), {})


def test_the_table_of_one_liners_names_what_there_is() -> None:
    table = README.split("## Put it in your program")[1].split("\n## ")[0]
    code = re.findall(r"`([^`]+)`", table)
    names = {name for line in code for name in re.findall(r"\b[A-Z]\w+(?=\()", line)}
    adapters = ("langchain_guardalign", "llama_index.llms.guardalign")
    modules = (guardalign_middleware, *map(import_module, adapters))
    assert {"GuardAlignMiddleware", "ImageGuardRunnable", "RemoteImageGuard"} <= names
    assert {name for name in names if not any(hasattr(each, name) for each in modules)} == set()
    commands = [line for line in code if line.startswith("guardalign ")]
    assert len(commands) == 2
    for command in commands:
        parse(shlex.split(command)[1:])


def test_the_pages_it_links_to_exist() -> None:
    root = Path(__file__).parent.parent
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (root / link).exists(), link
