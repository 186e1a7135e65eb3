"""The pages say what the benchmarks measured."""

import json
from pathlib import Path

import pytest

from benchmarks.pages import sight
from benchmarks.pages.figures import FIGURES, filled, pages


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(path.parents[1])))
def test_the_pages_hold_the_measured_figures(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert filled(page) == page, "run: python -m benchmarks.pages.figures"


def test_every_figure_is_on_a_page() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in pages())
    assert [name for name in FIGURES if f"<!-- figures: {name} -->" not in text] == []


def test_other_text_stays_and_old_figures_go() -> None:
    block = "<!-- figures: detection -->\nold 0.123\n<!-- end of figures -->"
    new = filled(f"before\n{block}\nbetween\n{block}\nafter")
    assert new.startswith("before\n")
    assert new.endswith("\nafter")
    assert "\nbetween\n" in new
    assert "old" not in new
    assert new.count("AUROC, global CLIP") == 2


@pytest.mark.parametrize(
    "page",
    [
        "<!-- figures: detection --> and nothing more",
        "<!-- figures: detection --> <!-- figures: safety --> <!-- end of figures -->",
    ],
)
def test_an_open_mark_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match="detection --> is not closed"):
        filled(page)


def test_an_unknown_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="no_such_table --> is unknown"):
        filled("<!-- figures: no_such_table --> <!-- end of figures -->")


def test_the_rows_of_changed_pictures_say_whether_the_promise_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sight, "SIGHT", tmp_path / "mini_sight.json")
    assert "python -m benchmarks.mini.sight" in FIGURES["sight"]()
    alarms = {"value": 0.02, "low": 0.005, "high": 0.04, "n": 400}
    row = {"row": "mix, safe", "goal": "<= 0.05", "figures": {"false alarms": alarms}}
    for promised, words in ((0.01, "within"), (0.05, "above"), (0.001, "outside")):
        data = {"promised": promised, "photographs": ["a.jpg"], "rows": [row]}
        (tmp_path / "mini_sight.json").write_text(json.dumps(data))
        page = FIGURES["sight"]()
        assert f"which is {words} the interval" in page
        assert "| mix, safe | &lt;= 0.05 | 400 | false alarms 0.020 (0.005–0.040) |" in page
