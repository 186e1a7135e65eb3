"""The page of a guard that only observes says so."""

import subprocess
import sys

import pytest

# In a process of its own: NiceGUI has one set of pages in each.
SCRIPT = """
import sys
import httpx
from guardalign_middleware.playground.mount import mount_playground
from guardalign_middleware.serving import create_app
from guardalign_middleware.testing import red_chain, red_config
from tests.support.serving import running

app = create_app(red_chain(red_config(mode=sys.argv[1])))
mount_playground(app)
with running(app, pages=True) as server:
    page = httpx.get(f"{server.url}/playground/", trust_env=False, timeout=60)
    print(page.status_code, "This guard only observes." in page.text)
"""


@pytest.mark.evidence
@pytest.mark.parametrize(("mode", "shown"), [("observe", True), ("enforce", False)])
def test_the_page_of_a_guard_that_only_observes_says_so(mode: str, shown: bool) -> None:
    pytest.importorskip("nicegui")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [f"200 {shown}"], done.stderr
