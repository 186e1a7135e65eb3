"""What a process says that lacks the libraries of models. A script; prints one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module

import typer.main
from typer.testing import CliRunner

import guardalign_middleware as core
from guardalign_middleware import generation, testing
from guardalign_middleware.cli import app
from guardalign_middleware.errors import ConfigError

LIBRARIES = ("open_clip", "ot", "safetensors", "scipy", "tokenizers", "torch", "transformers")
PACKAGES = (
    *("detection", "image_guard", "guard", "serving", "evaluation", "evaluation.attacks"),
    *("generation.engine", "generation.attention", "generation.prompt", "generation.frames"),
)
# `audit`, `doctor` and `report` work without models.
COMMANDS = {
    "demo": [],
    "scan": ["a.png"],
    "ask": ["a.png", "?"],
    "mcp": ["cat"],
    "serve": [],
    "playground": [],
    "explain-attention": ["a.png", "?"],
    "calibrate": ["--safe", "."],
    "init": ["--yes"],
    "attack": [],
    "bench": [],
    "eval": ["mini"],
    "concepts": ["check", "a.yaml"],
}


def said(attempt: Callable[[], object]) -> str:
    """The typed error of an attempt, if it has one."""
    try:
        attempt()
    except ConfigError as error:
        return str(error)
    return "works"


def seen() -> dict[str, object]:
    """The errors of public names, packages and commands, and the names of all commands."""
    names = {
        f"{home.__name__}.{name}": said(lambda home=home, name=name: getattr(home, name))
        for home in (core, generation, testing)
        for name in home.__all__
    }
    packages = {
        name: said(lambda name=name: import_module(f"{core.__name__}.{name}")) for name in PACKAGES
    }
    ends = {}
    for name, arguments in COMMANDS.items():
        end = CliRunner().invoke(app, [name, *arguments])
        ends[name] = [end.exit_code, " ".join(end.stderr.split())]
    known = sorted(typer.main.get_command(app).commands)
    return {"names": names, "packages": packages, "ends": ends, "commands": known}


if __name__ == "__main__":
    # As absent as if they were not installed.
    sys.modules.update(dict.fromkeys(LIBRARIES))
    sys.stdout.write(json.dumps(seen()))
