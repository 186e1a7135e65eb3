"""The page about the playground names what exists."""

import re
from pathlib import Path

from guardalign_middleware.cli import app
from guardalign_middleware.playground import gate, mount, session
from guardalign_middleware.playground.tour import STOPS, scenes

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "playground.md").read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_code() -> None:
    assert f"At most {session.MAX_SESSIONS} pages" in PAGE
    assert f"gone for {mount._RECONNECT_SECONDS:g} seconds" in PAGE
    assert gate._SECONDS == 12 * 3600
    assert "twelve" in PAGE
    assert (len(scenes()), len(STOPS)) == (8, 3)


def test_links_commands_and_code_exist() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (DOCS / link).exists(), link
    assert "playground" in {command.name for command in app.registered_commands}
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    compile(code, "playground.md", "exec")
    assert mount.mount_playground.__name__ in code
