"""Commands on the pages are spelled as the programs take them.

They are parsed and not run, because most of them need real models, servers that run until they are
stopped, or packages that are on no index yet. The commands of the README run in test_readme.py, and
those of the first pages in test_python.py and test_concepts.py.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from guardalign_middleware.cli import app
from tests.docs.pages import ROOT, Block, all_blocks

GROUP = typer.main.get_command(app)
# Programs that are not part of this project, which these tests do not know.
FOREIGN = {
    "(umask",
    "curl",
    "docker",
    "inspect",
    "install",
    "kubectl",
    "litellm",
    "lmms-eval",
    "openssl",
    "python3",
    "systemctl",
}
FOREIGN_PACKAGES = {"litellm"}
ALONE = {"pytest"}


def lines_of(block: Block) -> list[list[str]]:
    """The commands of a block: words of each, without comments, variables and redirections."""
    code = re.sub(r"\\\n\s*", " ", block.code)
    found = []
    for line in code.splitlines():
        for part in re.split(r" && | \| ", line):
            words = [word for word in shlex.split(part, comments=True) if word not in {"&", "…"}]
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            if words and words[0] != "export":
                found.append(words)
    return found


COMMANDS = [
    pytest.param(words, id=f"{block}-{number}")
    for block in all_blocks("sh", "bash")
    for number, words in enumerate(lines_of(block))
]


def parse(arguments: list[str]) -> None:
    """Have the command's own parser read its arguments; nothing runs."""
    command: Any = GROUP
    name = "guardalign"
    while hasattr(command, "commands"):
        assert arguments, f"{name} needs a command"
        name = arguments[0]
        command, arguments = command.commands[name], arguments[1:]
    command.make_context(name, list(arguments))


def extras(project: Path) -> set[str]:
    return set(tomllib.loads(project.read_text())["project"].get("optional-dependencies", {}))


EXTRAS = {
    tomllib.loads(path.read_text())["project"]["name"]: extras(path)
    for path in (ROOT / "pyproject.toml", *ROOT.glob("*/*/pyproject.toml"))
}


def check_requirement(word: str) -> None:
    match = re.fullmatch(r"([a-z.][a-z./-]*)(?:\[([a-z,-]+)\])?", word)
    assert match, word
    name, asked = match[1], set(filter(None, (match[2] or "").split(",")))
    if name in FOREIGN_PACKAGES:
        return
    if name.startswith("."):
        assert (ROOT / name / "pyproject.toml").exists(), word
        name = tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]["name"]
    assert asked <= EXTRAS[name], word


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_spelled_right(words: list[str]) -> None:
    program, arguments = words[0].rsplit("/", 1)[-1], words[1:]
    if program == "guardalign":
        parse(arguments)
    elif program == ".":
        assert arguments == [".venv/bin/activate"]
    elif program == "make":
        assert {word for word in arguments if "=" not in word} <= targets()
    elif program in {"python", "python3"} and arguments[:1] == ["-m"]:
        assert find_spec(arguments[1]), arguments
    elif program == "python":
        assert (ROOT / arguments[0]).is_file(), words
    elif program == "pip":
        assert arguments[0] == "install"
        for word in arguments[1:]:
            if word not in {"-e", "--editable"}:
                check_requirement(word)
    elif program in ALONE:
        for word in arguments:
            assert not word.endswith(".py") or (ROOT / word).exists(), word
    else:
        assert program in FOREIGN, words


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="--no-such-option"):
        parse(["scan", "photo.jpg", "--no-such-option"])
