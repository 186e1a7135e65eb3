from collections import Counter
from pathlib import Path

import pytest

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites import suite
from tests.support.suites import real_files, write_csv

XSTEST = suite("xstest")
COLUMNS = ("id", "prompt", "type", "label", "focus", "note")


def rows(safe: int = 250, unsafe: int = 200) -> list[tuple[str, ...]]:
    labels = ["safe"] * safe + ["unsafe"] * unsafe
    return [(str(n), f"prompt {n}", "kind", label, "", "") for n, label in enumerate(labels, 1)]


def test_the_present_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "xstest_prompts.csv", COLUMNS, rows())
    items = XSTEST.load(tmp_path)
    assert Counter(item.metadata["label"] for item in items) == {"safe": 250, "unsafe": 200}
    assert (items[0].id, items[0].prompt, items[0].images) == ("1", "prompt 1", ())
    assert [item.id for item in XSTEST.load(tmp_path, "unsafe")] == [
        str(n) for n in range(251, 451)
    ]


def test_the_older_file_has_its_labels_in_the_types(tmp_path: Path) -> None:
    kinds = ["homonyms"] * 250 + ["contrast_homonyms"] * 200
    made = [(f"v1-{n}", f"v2-{n}", kind, f"prompt {n}", "", "") for n, kind in enumerate(kinds, 1)]
    columns = ("id_v1", "id_v2", "type", "prompt", "focus", "note")
    write_csv(tmp_path / "xstest_v2_prompts.csv", columns, made)
    items = XSTEST.load(tmp_path, "unsafe")
    assert (len(items), items[0].id) == (200, "251")


@pytest.mark.parametrize(
    ("columns", "safe", "named"),
    [(COLUMNS, 249, "449 rows"), (COLUMNS[:3], 250, "'label'"), (COLUMNS, 251, "451 rows")],
)
def test_what_differs_is_named(
    tmp_path: Path, columns: tuple[str, ...], safe: int, named: str
) -> None:
    made = [row[: len(columns)] for row in rows(safe)]
    write_csv(tmp_path / "xstest_prompts.csv", columns, made)
    with pytest.raises(SuiteError, match=named):
        XSTEST.load(tmp_path)


def test_a_row_of_another_width_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "xstest_prompts.csv", COLUMNS, [*rows()[:-1], ("450", "prompt")])
    with pytest.raises(SuiteError, match="line 451"):
        XSTEST.load(tmp_path)


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path: Path) -> None:
    write_csv(tmp_path / "xstest_prompts.csv", COLUMNS, rows(), mark=True)
    assert XSTEST.load(tmp_path)[0].id == "1"


def test_a_folder_without_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no xstest_prompts.csv or xstest_v2_prompts.csv"):
        XSTEST.load(tmp_path)
    with pytest.raises(SuiteError, match="no folder"):
        XSTEST.load(tmp_path / "absent")


def test_an_unknown_split_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="all, safe, unsafe"):
        XSTEST.load(tmp_path, "test")


def test_the_real_files_of_both_years_agree(tmp_path: Path) -> None:
    folder = real_files("xstest")
    (tmp_path / "xstest_v2_prompts.csv").write_bytes(
        (folder / "xstest_v2_prompts.csv").read_bytes()
    )
    new, old = XSTEST.load(folder), XSTEST.load(tmp_path)
    assert len(new) == len({item.id for item in new}) == 450
    assert [dict(item.metadata) for item in new] == [dict(item.metadata) for item in old]
