"""Installs the distributions from their wheels in empty environments, and uses them there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from release.building import distributions
from release.commands import run, uv

LIGHT = (
    "guardalign_core",
    "guardalign_agents",
    "langchain_guardalign",
    "llama_index_llms_guardalign",
)
WHOLE = ("guardalign_core", "guardalign_middleware")

# What an application does that has its guard in another process, and what it must not need.
_LIGHT_PROGRAM = """
import sys
import guardalign_agents, langchain_guardalign, guardalign_middleware as package
from guardalign_middleware import ConfigError, RemoteImageGuard
from llama_index.llms.guardalign import GuardAlignGuardedLLM
assert "torch" not in sys.modules
assert RemoteImageGuard and GuardAlignGuardedLLM
try:
    package.ImageGuard
except ConfigError as error:
    assert "pip install" in str(error), error
else:
    raise AssertionError("a guard without torch")
print(package.__version__)
"""
# The miniature models, from the wheel.
_WHOLE_PROGRAM = """
import guardalign_middleware as package
from guardalign_middleware import ImageGuard
from guardalign_middleware.mini.demo import demo_scenes
(scene,) = [item for item in demo_scenes() if item.name == "pistol-apple"]
from PIL import Image
verdict = ImageGuard.from_preset("mini").scan(Image.fromarray(scene.scene.pixels))
assert verdict.decision == "mask", verdict
print(package.__version__)
"""


def find_python(version: str) -> Path | None:
    """An interpreter of a version such as "3.12" on this machine, or None."""
    for candidate in _candidates(version):
        try:
            said = subprocess.run(
                [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        if said.stdout.strip() == version:
            return candidate
    return None


def _candidates(version: str) -> Iterator[Path]:
    for folder in os.get_exec_path():
        yield Path(folder) / f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)


def install_and_use(out: Path, python: Path, constraints: Path, *, models: bool) -> str:
    """Install wheels with what they need in an empty environment, and use them.

    Args:
        out: folder with the distributions.
        python: interpreter for the environment.
        constraints: versions of other packages.
        models: install what runs models, too, and scan a picture.

    Returns:
        The version of the package as it is installed.

    Raises:
        CheckFailed: an installation or its use failed.
    """
    wanted = WHOLE if models else LIGHT
    wheels = [
        file
        for file in distributions(out)
        if file.suffix == ".whl" and file.name.split("-")[0] in wanted
    ]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "environment"
        uv("venv", "--quiet", "--python", python, place)
        inside = place / "bin" / "python"
        uv(
            *("pip", "install", "--quiet", "--python", inside, "--constraint", constraints),
            *("--find-links", out),
            *wheels,
        )
        uv("pip", "check", "--quiet", "--python", inside)
        run([place / "bin" / "guardalign", "--help"], folder=place)
        # Away from the repository, so that nothing of it can be imported instead.
        variables = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
        program = _WHOLE_PROGRAM if models else _LIGHT_PROGRAM
        return run([inside, "-c", program], folder=place, variables=variables).strip()
