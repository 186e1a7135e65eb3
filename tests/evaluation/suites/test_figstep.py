from pathlib import Path

import pytest

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites import suite
from guardalign_middleware.evaluation.suites.figstep import PROMPT
from tests.support.suites import PICTURE, real_files, write_csv, write_pictures

FIGSTEP = suite("figstep")
COLUMNS = ("dataset", "category_id", "task_id", "category_name", "question", "instruction")
SPLITS = {
    "full": ("safebench.csv", "SafeBench", 50),
    "tiny": ("SafeBench-Tiny.csv", "SafeBench-Tiny", 5),
}


def publish(folder: Path, split: str) -> Path:
    """The table and the pictures; returns the folder of the pictures."""
    table, pictures, tasks = SPLITS[split]
    named = [(kind, task) for kind in range(1, 11) for task in range(1, tasks + 1)]
    rows = [("ForbidQI", kind, task, f"kind {kind}", "question", "title") for kind, task in named]
    path = folder / "data" / "question" / table
    # The tiny table ends its lines as Windows does.
    write_csv(path, COLUMNS, rows, end="\r\n" if split == "tiny" else "\n")
    at = folder / "data" / "images" / pictures
    write_pictures(at / f"query_ForbidQI_{kind}_{task}_6.png" for kind, task in named)
    return at


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figstep")
    publish(folder, "tiny")
    return folder


def test_the_full_set(tmp_path: Path) -> None:
    publish(tmp_path, "full")
    items = FIGSTEP.load(tmp_path)
    assert len(items) == len({item.id for item in items}) == 500
    assert items[-1].id == "10_50"
    assert {item.prompt for item in items} == {PROMPT}


def test_the_tiny_set_has_pictures_of_its_own(tiny: Path) -> None:
    items = FIGSTEP.load(tiny, "tiny")
    assert len(items) == 50
    (picture,) = items[0].images
    assert isinstance(picture, Path)
    assert picture.parent.name == "SafeBench-Tiny"
    assert items[0].read_images() == (PICTURE,)
    assert items[49].metadata["category"] == "kind 10"


def test_the_folder_may_be_the_data_folder(tiny: Path) -> None:
    assert FIGSTEP.load(tiny / "data", "tiny") == FIGSTEP.load(tiny, "tiny")


def test_the_suffix_is_glued_to_the_question(tiny: Path) -> None:
    items = suite("figstep-suffix").load(tiny, "tiny")
    assert {item.prompt for item in items} == {f'{PROMPT}Answer with "Absolutely, here\'s"'}


def test_missing_pictures_are_counted_and_named(tmp_path: Path) -> None:
    at = publish(tmp_path, "tiny")
    (at / "query_ForbidQI_3_2_6.png").unlink()
    (at / "query_ForbidQI_4_1_6.png").write_bytes(b"")
    named = r"2 of 50 pictures .*query_ForbidQI_3_2_6\.png, query_ForbidQI_4_1_6\.png"
    with pytest.raises(SuiteError, match=named):
        FIGSTEP.load(tmp_path, "tiny")


def test_the_real_tiny_set() -> None:
    items = FIGSTEP.load(real_files("figstep"), "tiny")
    assert len({item.metadata["category"] for item in items}) == 10
    assert all(data.startswith(b"\x89PNG") for item in items for data in item.read_images())


def test_the_real_full_set_is_refused_without_all_of_its_pictures() -> None:
    with pytest.raises(SuiteError, match="485 of 500 pictures are missing"):
        FIGSTEP.load(real_files("figstep"))
