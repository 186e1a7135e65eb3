"""The example programs run offline on the miniature models.

One runs in a process of its own, as a reader would start it; the others run in this one, where
torch and the frameworks are already imported.
"""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mcp.client.stdio  # noqa: F401 (it keeps the standard error of its first import)
import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
# What an example prints beside the guard's decision.
SHOWN = {
    "langchain_agent": "of the screenshot I was shown is covered",
    "langchain_browser": "guarded: The lamp costs 39 euros.\n  nothing was sent",
    "langchain_guard_in_front": "guarded: the provider never saw the raw picture",
    "langchain_mcp_agent": "bare server:    0% of the screenshot is masked.\nguardalign mcp: 33%",
    "langchain_rag": "Looking for 'axe': axe-apple.png, mask",
    "llama_index_agent": "of the picture I was shown is covered",
    "llama_index_browser": "guarded: The first ticket is about a broken export.\n  nothing was",
    "llama_index_rag": "Looking for 'axe': axe-apple.png, mask",
}

# And before it, where there is no guard.
UNGUARDED = {
    "langchain_browser": "the address was sent to crew@collect.example",
    "llama_index_browser": "/backups was deleted",
}

# The rest take half a minute: `make evidence` runs them.
QUICK = {"core_chain", "langchain_agent", "langchain_chat", "llama_index_agent"}
PROGRAMS = [
    pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.evidence, id=path.stem)
    for path in EXAMPLES
]


def test_each_is_in_the_index() -> None:
    index = (EXAMPLES[0].parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`(\w+\.py)`\]\((\w+\.py)\) \|", index, flags=re.MULTILINE)
    assert sorted(rows) == [(path.name, path.name) for path in EXAMPLES]


Run = Callable[[Path], str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a program as `python FILE` does, and returns what it prints."""

    def run(program: Path) -> str:
        monkeypatch.setattr(sys, "argv", [str(program)])
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(program), run_name="__main__")
        return capsys.readouterr().out

    return run


# As in a program, where the deprecations of the frameworks' own code are no errors.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
# The provider of one example is a server on this machine.
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("example", PROGRAMS)
@pytest.mark.slow
def test_it_runs(example: Path, run: Run) -> None:
    printed = run(example)
    assert "mask" in printed
    assert SHOWN.get(example.stem, "") in printed
    assert UNGUARDED.get(example.stem, "") in printed


@pytest.mark.evidence
def test_it_runs_in_a_process_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES[0])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "mask" in done.stdout
    assert "Traceback" not in done.stderr
