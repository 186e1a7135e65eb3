"""Both adapters work with a remote guard in a process that has neither torch nor models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_guard
from tests.support.remote import KEY, loopback
from tests.support.serving import served

SCRIPT = Path(__file__).parents[1] / "support" / "light_process.py"
EXPECTED = {
    "scan": "mask",
    "message": ["mask"],
    "raw is gone": True,
    "document": "mask",
    "chat": ["mask"],
    "node": "mask",
    "loaded": [],
}


@loopback
@pytest.mark.evidence
def test_both_adapters_without_torch() -> None:
    with served(create_app(red_guard(), ServeOptions(api_key=KEY))) as url:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), url, KEY, "--absent"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == EXPECTED
