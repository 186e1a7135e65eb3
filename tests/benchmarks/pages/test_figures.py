"""README and model card say what the benchmarks measured."""

from pathlib import Path

import pytest

from benchmarks.pages.figures import PAGES, filled


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.parent.name))
def test_the_pages_hold_the_measured_figures(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert "<!-- figures: " in page
    assert filled(page) == page, "run: python -m benchmarks.pages.figures"


def test_other_text_stays_and_old_figures_go() -> None:
    page = "before\n<!-- figures: detection -->\nold 0.123\n<!-- end of figures -->\nafter"
    new = filled(page)
    assert new.startswith("before\n")
    assert new.endswith("\nafter")
    assert "old" not in new
    assert "AUROC" in new


def test_an_open_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="not closed"):
        filled("<!-- figures: detection --> and nothing more")
