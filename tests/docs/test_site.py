"""How pages become a site: links, what is written from code, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from guardalign_middleware.cli import app
from tests.docs.pages import ROOT
from website.commands import command_reference
from website.links import pipes_in_code, rewrite, targets
from website.offline import check_site, loaded_from_elsewhere
from website.repository_pages import MissingTarget, path_of, repository_pages, uri_of
from website.settings import settings_reference


def test_links_are_rewritten_outside_of_code() -> None:
    text = "[a](../x.py) [b](https://x) [c](#d)\n```text\n[a](../x.py)\n```\n![e](images/e.svg)\n"
    assert rewrite(text, str.upper) == text.replace("[a](../x.py) ", "[a](../X.PY) ").replace(
        "images/e.svg", "IMAGES/E.SVG"
    )
    assert targets("docs/page.md", text) == {"x.py", "docs/images/e.svg"}


def test_a_bar_in_the_code_of_a_row_is_a_bar() -> None:
    assert pipes_in_code("| `a \\| b<c>` | d |") == "| <code>a &#124; b&lt;c&gt;</code> | d |"
    assert pipes_in_code("`a \\| b`") == "`a \\| b`"


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("docs/scale.md", "scale.md"),
        ("SECURITY.md", "repository/SECURITY.md"),
        ("examples/core_chain.py", "repository/examples/core_chain.py.md"),
        ("deploy", "repository/deploy/index.md"),
        (
            "guardalign_middleware/mini/README.md",
            "repository/guardalign_middleware/mini/read-me.md",
        ),
    ],
)
def test_each_path_has_a_page(path: str, uri: str) -> None:
    assert uri_of(ROOT, path) == uri
    if uri.startswith("repository/") and path.endswith(".md"):
        assert path_of(uri) == path


def test_pages_are_made_of_what_is_linked_and_of_what_that_links(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("[b](b.py) [home](docs/index.md)")
    (tmp_path / "b.py").write_text("print('~~~')\n")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "d.yaml").write_text("e: 1\n")
    pages = repository_pages(tmp_path, {"docs/x.md": "[a](../a.md)"}, ["c"])
    assert {page.path for page in pages} == {"a.md", "b.py", "c", "c/d.yaml"}
    (code,) = (page.content for page in pages if page.path == "b.py")
    assert "~~~~ python\nprint('~~~')\n~~~~\n" in str(code)
    (tmp_path / "b.py").unlink()
    with pytest.raises(MissingTarget, match=r"a\.md links to b\.py"):
        repository_pages(tmp_path, {"docs/x.md": "[a](../a.md)"})


def test_what_is_loaded_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<script src="https://cdn.example/x.js"></script>')
    assert check_site(tmp_path) == ["page.html loads https://cdn.example/x.js"]
    for page in (
        '<link rel="stylesheet" href="//fonts.example/x.css">',
        '<img src="http://pictures.example/x.png">',
        '<pre class="mermaid"><code>a</code></pre>',
    ):
        assert loaded_from_elsewhere(page)
    assert not loaded_from_elsewhere(
        '<a href="https://x.example">x</a><img src="x.png"><link rel="canonical" href="https://x">'
    )


def test_every_command_and_option_is_in_the_reference() -> None:
    text = command_reference()
    for command in app.registered_commands:
        name = command.name or str(getattr(command.callback, "__name__", ""))
        assert f"## `guardalign {name}`" in text
    assert "## `guardalign audit verify`" in text
    assert "| `--preset <str>`, `-p <str>` | `mini` |" in text
    assert "\n| `IMAGE` | required |" in text


def test_every_setting_is_in_the_reference() -> None:
    text = settings_reference()
    assert "| `max_crops` | integer > 0 | `256` |" in text
    assert "[`detection.transport`](#detectiontransport)" in text
    assert '| `mode` | `positive`, `paper` | `"positive"` |' in text
    assert "## `runner.calibration`" in text
