"""The example programs run offline on the miniature models."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
# What an example must have shown, beside the guard's decision.
SHOWN = {
    "langchain_agent": "of the screenshot I was shown is covered",
    "langchain_guard_in_front": "guarded: the provider never saw the raw picture",
    "langchain_rag": "Looking for 'axe': axe-apple.png, mask",
    "llama_index_agent": "of the picture I was shown is covered",
    "llama_index_rag": "Looking for 'axe': axe-apple.png, mask",
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(example)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "mask" in done.stdout
    assert SHOWN.get(example.stem, "") in done.stdout
    assert "Traceback" not in done.stderr
