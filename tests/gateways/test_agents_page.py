"""The programs of the page about agents, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateways.processes import GUARD_KEY, ROOT
from tests.gateways.sent_pictures import UNSAFE, arrived
from tests.support.upstream import Recorded

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PAGE = (ROOT / "docs" / "gateways.md").read_text().partition("## Agents")[2]
PROGRAMS = dict(re.findall(r"### ([^\n]+)\n\n```python\n(.*?)```", PAGE, re.DOTALL))


def test_each_framework_has_a_program() -> None:
    assert list(PROGRAMS) == ["OpenAI Agents SDK", "Pydantic AI", "Haystack"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_page(
    name: str,
    guard_url: str,
    standing_upstream: tuple[Recorded, str],
    upstream: Recorded,
    tmp_path: Path,
) -> None:
    (tmp_path / "photo.png").write_bytes(UNSAFE)
    env = {
        **os.environ,
        "GUARD_URL": guard_url,
        "GUARD_KEY": GUARD_KEY,
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"{standing_upstream[1]}/v1",
        "OPENAI_AGENTS_DISABLE_TRACING": "true",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[name]],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Blue thing"
    assert arrived(upstream.body) == [False]
