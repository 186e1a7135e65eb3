"""An installation without torch, from wheels: adapters and scans by a server of another one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware import ImageGuard
from guardalign_middleware.local_extra import LIBRARIES
from guardalign_middleware.mini.demo import demo_scenes
from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import png, red_guard
from guardalign_middleware.types import CanonicalImage
from tests.light.conftest import LIGHT_PYTHON
from tests.support.light_scans import results
from tests.support.remote import KEY, loopback
from tests.support.serving import served

PYTHON = Path(os.environ[LIGHT_PYTHON]).absolute()
SUPPORT = Path(__file__).parents[1] / "support"
# What an installation of the whole has on its path must not be seen.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def light(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(each) for each in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=ENVIRONMENT,
    )


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """`guardalign serve` with the miniature models, in a process of the whole installation."""
    command = [sys.executable, "-c", "from guardalign_middleware.cli import main; main()", "serve"]
    with subprocess.Popen(
        [*command, "--port", "0", "--api-key-env", "THE_KEY"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "THE_KEY": KEY, "COLUMNS": "200"},
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        yield next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
        process.terminate()


def test_it_has_none_of_the_libraries_of_models(tmp_path: Path) -> None:
    script = (
        "import sys; from importlib.util import find_spec; import guardalign_middleware as core; "
        "print(core.__file__, [name for name in sys.argv[1:] if find_spec(name)])"
    )
    done = light(tmp_path, PYTHON, "-c", script, *LIBRARIES, "torchvision", "timm", "onnxruntime")
    file, _, found = done.stdout.strip().partition(" ")
    assert (Path(file).is_relative_to(PYTHON.parents[1]), found) == (True, "[]"), done.stderr


@loopback
def test_both_adapters_guard(tmp_path: Path) -> None:
    with served(create_app(red_guard(), ServeOptions(api_key=KEY))) as url:
        done = light(tmp_path, PYTHON, SUPPORT / "light_process.py", url, KEY)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found.pop("raw is gone"), found.pop("loaded")) == (True, [])
    flat = [item for value in found.values() for item in (value if value != "mask" else [value])]
    assert flat == ["mask"] * 5


@loopback
def test_verdicts_and_cleaned_pictures_are_those_of_a_local_guard(
    server: str, tmp_path: Path
) -> None:
    for scene in demo_scenes():
        (tmp_path / f"{scene.name}.png").write_bytes(png(CanonicalImage(scene.scene.pixels)))
    files = sorted(path.name for path in tmp_path.iterdir())
    done = light(tmp_path, PYTHON, SUPPORT / "light_scans.py", server, KEY, *files)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        expected = results(ImageGuard.from_preset("mini"), files)
    assert json.loads(done.stdout) == expected
    assert {verdict["decision"] for verdict, _ in expected.values()} >= {"allow", "mask"}


def test_what_needs_models_names_the_remedy(tmp_path: Path) -> None:
    done = light(tmp_path, PYTHON.parent / "guardalign", "demo")
    assert done.returncode == 3
    assert "pip install 'guardalign-core[local]'" in done.stderr
    script = "from langchain_guardalign import ChatGuardAlign; ChatGuardAlign(preset='mini')"
    assert (
        "ConfigError: Models in this process need" in light(tmp_path, PYTHON, "-c", script).stderr
    )


def test_what_needs_none_works(tmp_path: Path) -> None:
    command = ("audit", "verify", "log.jsonl", "--key-variable", "NOT_SET")
    done = light(tmp_path, PYTHON.parent / "guardalign", *command)
    assert "NOT_SET" in done.stderr
    assert "Models in this process" not in done.stderr
