"""Without torch, whatever would run a model says so in one typed error that names the remedy."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from guardalign_middleware import handles, local_extra
from guardalign_middleware.errors import ConfigError

SCRIPT = Path(__file__).parent / "support" / "without_models.py"
NEED_MODELS = {
    *("guardalign_middleware." + name for name in ("CalibratedRunner", "GuardAlign", "ImageGuard")),
    *(
        "guardalign_middleware.generation." + name
        for name in ("CalibratedRunner", "LoadedModel", "load_model")
    ),
}


@pytest.fixture(scope="module")
def without() -> dict[str, dict[str, str]]:
    """What a process without the libraries gets."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def is_clear(text: str) -> bool:
    return "need open_clip, ot," in text and "Run `pip install 'guardalign-core[local]'`" in text


def test_a_name_works_or_says_what_it_needs(without: dict[str, dict[str, str]]) -> None:
    refused = {name for name, text in without["names"].items() if text != "works"}
    assert {name for name in refused if ".testing." not in name} == NEED_MODELS
    assert "guardalign_middleware.testing.red_guard" in refused
    assert all(is_clear(without["names"][name]) for name in refused)


def test_packages_of_models_say_what_they_need(without: dict[str, dict[str, str]]) -> None:
    told = dict(without["packages"])
    assert told.pop("serving").startswith("Serving needs open_clip")
    assert all(is_clear(text) for text in told.values()), told


def test_every_command_says_what_it_needs(without: dict[str, dict[str, str]]) -> None:
    ends = dict(without["ends"])
    assert set(without["commands"]) == {*ends, "audit", "doctor", "report"}
    for name in ("serve", "playground"):
        assert local_extra.install(name) in str(ends.pop(name))
    for name, (status, text) in ends.items():
        assert status == 3, name
        assert is_clear(text), text


def test_a_local_chat_model_is_refused_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_extra, "find_spec", lambda name: None if name == "torch" else name)
    for handle in (handles.LazyChain, handles.LazyGuard):
        with pytest.raises(ConfigError, match=r"need torch, which .* 'guardalign-core\[local\]'`"):
            handle("mini")


def test_every_command_names_an_extra_of_the_distribution_that_is_installed() -> None:
    root = Path(__file__).parents[1]
    core = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = set()
    for file in (root / "guardalign_middleware").rglob("*.py"):
        code = file.read_text(encoding="utf-8")
        asked |= set(re.findall(r"\b(?:install|require_extra)\([\"']([a-z-]+)[\"']", code))
        # Only one place spells the command, and no index has the whole before its release.
        assert "guardalign-middleware[" not in code, file
        assert "guardalign-core[" not in code or file.name == "local_extra.py", file
    assert {"fast", "local", "pdf", "report", "serve", "tables", "words"} <= asked
    assert asked <= set(core["optional-dependencies"])
    assert local_extra.install("serve") == f"pip install '{core['name']}[serve]'"
