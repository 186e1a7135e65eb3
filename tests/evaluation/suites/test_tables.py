"""Suites in Parquet tables, as the hub has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites import SUITES, Item, TableCell, suite
from tests.support.suites import PICTURE, of_size, write_table

ROWS = 6
NUMBERS = list(range(ROWS))
TEXTS = [f"text {number}" for number in NUMBERS]
Columns = dict[str, list[Any]]


def spa_vl() -> Columns:
    return {"image": NUMBERS, "question": TEXTS, "class1": TEXTS, "class2": TEXTS, "class3": TEXTS}


def mme() -> Columns:
    return {
        "question_id": [f"existence/{number // 2}.png" for number in NUMBERS],
        "image": NUMBERS,
        "question": ["Is it there? Please answer yes or no."] * ROWS,
        "answer": ["Yes", "No"] * 3,
        "category": ["existence"] * ROWS,
    }


def mmbench() -> Columns:
    return {
        "index": NUMBERS,
        "image": NUMBERS,
        "question": TEXTS,
        "hint": ["a hint", "nan", "", *["nan"] * 3],
        "answer": ["A"] * ROWS,
        "category": ["kind"] * ROWS,
        "A": ["first"] * ROWS,
        "B": ["second"] * ROWS,
        "C": ["nan"] * ROWS,
        "D": ["nan"] * ROWS,
    }


def scienceqa() -> Columns:
    return {
        "image": NUMBERS,
        "question": TEXTS,
        "choices": [["first", "second", "third"]] * ROWS,
        "answer": [2, *[0] * 5],
        "hint": ["a hint", *[""] * 5],
        "subject": ["natural science"] * ROWS,
    }


def textvqa() -> Columns:
    return {
        "question_id": NUMBERS,
        "image": NUMBERS,
        "question": ["What is the Brand?"] * ROWS,
        "answers": [["one"] * 10] * ROWS,
    }


def vqav2() -> Columns:
    answers = [
        {"answer": "net", "answer_confidence": "maybe", "answer_id": number} for number in range(10)
    ]
    return {
        "question_id": NUMBERS,
        "image": NUMBERS,
        "question": TEXTS,
        "question_type": ["what is"] * ROWS,
        "answers": [answers] * ROWS,
    }


PUBLISHED: dict[str, tuple[str, Callable[[], Columns]]] = {
    "spa-vl": ("test/harm-00000-of-00001.parquet", spa_vl),
    "mme": ("data/test-00000-of-00001-0123456789abcdef.parquet", mme),
    "mmbench": ("en/dev-00000-of-00001.parquet", mmbench),
    "scienceqa-img": ("ScienceQA-IMG/test-00000-of-00001.parquet", scienceqa),
    "textvqa": ("data/validation-00000-of-00001.parquet", textvqa),
    "vqav2": ("data/validation-00000-of-00001.parquet", vqav2),
}


def loaded(name: str, folder: Path, split: str | None = None) -> list[Item]:
    return list(of_size(name, ROWS).load(folder, split))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_snapshot_of_the_hub(name: str, tmp_path: Path) -> None:
    path, columns = PUBLISHED[name]
    write_table(tmp_path / path, columns())
    items = loaded(name, tmp_path)
    assert len({item.id for item in items}) == ROWS
    assert [item.read_images() for item in items] == [(PICTURE + bytes([n]),) for n in NUMBERS]
    assert all(isinstance(item.images[0], TableCell) for item in items)
    assert all(item.metadata["split"] == SUITES[name].manifest.split for item in items)
    assert all("category" in item.metadata for item in items)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_column_of_the_manifest_is_asked_for(name: str, tmp_path: Path) -> None:
    path, columns = PUBLISHED[name]
    for column in suite(name).manifest.columns:
        rest = {key: value for key, value in columns().items() if key != column}
        write_table(tmp_path / path, rest)
        with pytest.raises(SuiteError, match=f"lacks '{column}'"):
            loaded(name, tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_another_number_of_rows_is_an_error(name: str, tmp_path: Path) -> None:
    path, columns = PUBLISHED[name]
    write_table(tmp_path / path, columns())
    published = next(iter(suite(name).manifest.counts.values()))
    with pytest.raises(SuiteError, match=f"has 6 rows, and .* has {published}"):
        suite(name).load(tmp_path)


def test_rows_without_a_picture_are_named(tmp_path: Path) -> None:
    write_table(tmp_path / "test/harm-00000-of-00001.parquet", spa_vl(), empty=(4, 5))
    with pytest.raises(SuiteError, match="2 rows without a picture, the first is row 0 of group 1"):
        loaded("spa-vl", tmp_path)


def test_a_column_of_addresses_is_no_column_of_pictures(tmp_path: Path) -> None:
    columns = {**spa_vl(), "pictures": TEXTS}
    del columns["image"]
    columns["image "] = TEXTS
    path = write_table(tmp_path / "test/harm-00000-of-00001.parquet", columns)
    with pytest.raises(SuiteError, match="lacks 'image'"):
        loaded("spa-vl", tmp_path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(SuiteError, match="is not a Parquet file"):
        loaded("spa-vl", tmp_path)


def test_every_shard_is_wanted(tmp_path: Path) -> None:
    for number in (0, 2):
        write_table(tmp_path / f"data/test-0000{number}-of-00003.parquet", mme())
    with pytest.raises(SuiteError, match="shard 1 of 3 is missing"):
        loaded("mme", tmp_path)
    write_table(tmp_path / "data/test-00001-of-00003.parquet", mme())
    assert len(of_size("mme", 3 * ROWS).load(tmp_path)) == 3 * ROWS


def test_a_local_folder_of_the_files_alone(tmp_path: Path) -> None:
    write_table(tmp_path / "help-00000-of-00001.parquet", spa_vl())
    item = loaded("spa-vl", tmp_path, "help")[5]
    assert (item.prompt, item.metadata["label"]) == ("text 5", "safe")
    with pytest.raises(SuiteError, match=r"has no test/harm-\*\.parquet"):
        loaded("spa-vl", tmp_path, "harm")


@pytest.mark.parametrize("owner", ["lmms-lab-encoder", "lmms-lab"])
def test_a_cache_of_the_hub_under_the_new_and_the_old_id(owner: str, tmp_path: Path) -> None:
    stored = tmp_path / f"datasets--{owner}--MME"
    write_table(stored / "snapshots" / "aaaa" / "data" / "test-00000-of-00001.parquet", mme())
    assert len(loaded("mme", tmp_path)) == ROWS
    write_table(stored / "snapshots" / "bbbb" / "data" / "test-00000-of-00001.parquet", mme())
    with pytest.raises(SuiteError, match="2 snapshots, and no main"):
        loaded("mme", tmp_path)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("bbbb\n")
    (cell,) = loaded("mme", tmp_path)[0].images
    assert isinstance(cell, TableCell)
    assert "bbbb" in cell.path.parts


def test_the_prompts_of_utility(tmp_path: Path) -> None:
    for name in ("mme", "mmbench", "scienceqa-img", "textvqa", "vqav2"):
        path, columns = PUBLISHED[name]
        write_table(tmp_path / name / path, columns())
    short = "\nAnswer the question using a single word or phrase."
    letter = "\nAnswer with the option's letter from the given choices directly."
    mme_item, *_ = loaded("mme", tmp_path / "mme")
    assert mme_item.prompt == f"Is it there?{short}"
    hinted, plain, *_ = loaded("mmbench", tmp_path / "mmbench")
    options = "There are several options:\nA. first\nB. second\n"
    assert hinted.prompt == f"a hint text 0 {options}{letter}"
    assert plain.prompt == f"text 1 {options}{letter}"
    first, second, *_ = loaded("scienceqa-img", tmp_path / "scienceqa-img")
    shown = "A. first\nB. second\nC. third"
    assert first.prompt == f"Context: a hint\ntext 0\n{shown}{letter}"
    assert second.prompt == f"text 1\n{shown}{letter}"
    assert (first.target, second.target) == ("C", "A")
    assert loaded("textvqa", tmp_path / "textvqa")[0].prompt == f"What is the brand?{short}"
    assert loaded("vqav2", tmp_path / "vqav2")[0].metadata["answers"] == ["net"] * 10


def publish_gqa(folder: Path, pictures: int) -> None:
    questions = {
        "id": TEXTS,
        "imageId": ["n0", "n1"] * 3,
        "question": TEXTS,
        "answer": ["yes"] * ROWS,
    }
    write_table(folder / "testdev_balanced_instructions/testdev-00000-of-00001.parquet", questions)
    names: Columns = {"id": [f"n{number}" for number in range(pictures)]}
    names["image"] = list(range(pictures))
    write_table(folder / "testdev_balanced_images/testdev-00000-of-00001.parquet", names)


def test_the_questions_of_gqa_share_pictures(tmp_path: Path) -> None:
    publish_gqa(tmp_path, 2)
    items = loaded("gqa", tmp_path)
    assert [item.read_images()[0][-1] for item in items] == [0, 1] * 3


def test_a_picture_that_gqa_lacks_is_named(tmp_path: Path) -> None:
    publish_gqa(tmp_path, 1)
    with pytest.raises(SuiteError, match="lacks 1 pictures, the first is n1"):
        loaded("gqa", tmp_path)


def test_holisafe_as_a_table(tmp_path: Path) -> None:
    columns: Columns = {
        "image": NUMBERS,
        "query": TEXTS,
        "type": ["SSS", "SSU"] * 3,
        "category": TEXTS,
        "subcategory": TEXTS,
    }
    write_table(tmp_path / "data" / "test-00000-of-00001.parquet", columns)
    items = loaded("holisafe", tmp_path)
    assert [item.metadata["type"] for item in items] == ["SSS", "SSU"] * 3
    assert [item.metadata["label"] for item in items] == ["safe", "unsafe"] * 3
    assert items[2].read_images() == (PICTURE + b"\x02",)


def test_the_hub_has_the_pictures_of_msts(tmp_path: Path) -> None:
    columns: Columns = {
        "case_id": [f"case_{number // 2}" for number in NUMBERS],
        "hazard_category": ["Other"] * ROWS,
        "prompt_text": TEXTS,
        "prompt_type": ["assistance", "intention"] * 3,
        "unsafe_image": NUMBERS,
    }
    write_table(tmp_path / "data" / "german-00000-of-00001.parquet", columns)
    items = loaded("msts", tmp_path, "german")
    assert items[3].id == "case_1/intention"
    assert items[3].read_images() == (PICTURE + b"\x03",)
