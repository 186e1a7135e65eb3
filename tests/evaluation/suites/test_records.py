"""Suites in CSV and JSON files beside folders of pictures."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites import suite
from tests.support.suites import (
    of_size,
    real_files,
    write_csv,
    write_json,
    write_pictures,
)

SIZE = 4


def publish_vlguard(folder: Path) -> None:
    """558 safe pictures with two pairs, 442 unsafe ones with one."""
    rows: list[dict[str, Any]] = []
    for number in range(1000):
        row: dict[str, Any] = {"id": f"id{number}", "image": f"bad_ads/{number}.png"}
        if number < 558:
            pairs = [{f"{kind}_instruction": f"{kind} {number}", "response": "an answer"}
                     for kind in ("safe", "unsafe")]  # fmt: skip
            rows.append({**row, "safe": True, "instr-resp": pairs})
        else:
            pairs = [{"instruction": f"plain {number}", "response": "an answer"}]
            about = {"harmful_category": "privacy", "harmful_subcategory": "personal data"}
            rows.append({**row, "safe": False, "instr-resp": pairs, **about})
    write_json(folder / "data" / "test.json", rows)
    write_pictures(folder / "test" / f"bad_ads/{number}.png" for number in range(1000))


@pytest.fixture(scope="module")
def vlguard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vlguard")
    publish_vlguard(folder)
    return folder


@pytest.mark.parametrize(
    ("split", "count", "first"),
    [
        ("unsafes", 442, "plain 558"),
        ("safe_unsafes", 558, "unsafe 0"),
        ("safe_safes", 558, "safe 0"),
    ],
)
def test_the_subsets_of_vlguard(vlguard: Path, split: str, count: int, first: str) -> None:
    items = suite("vlguard").load(vlguard, split)
    assert (len(items), items[0].prompt) == (count, first)
    assert items[0].metadata["category"] == ("privacy" if split == "unsafes" else "safe")
    assert {item.metadata["label"] for item in items} == {
        "safe" if split == "safe_safes" else "unsafe"
    }


def test_the_archive_of_vlguard_is_read_in_place(vlguard: Path, tmp_path: Path) -> None:
    records = vlguard / "data" / "test.json"
    (tmp_path / "test.json").write_bytes(records.read_bytes())
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
        for number in range(1000):
            archive.writestr(f"test/bad_ads/{number}.png", b"picture")
    items = suite("vlguard").load(tmp_path)
    assert (len(items), items[0].read_images()) == (442, (b"picture",))


def publish_advbench(folder: Path, rows: int = 520, *, swapped: bool = False) -> None:
    made = [(f"Do {number}", f"Sure, here is {number}") for number in range(rows)]
    if swapped:
        made = [(second, first) for first, second in made]
    write_csv(folder / "harmful_behaviors.csv", ("goal", "target"), made)


def test_advbench(tmp_path: Path) -> None:
    publish_advbench(tmp_path)
    item = suite("advbench").load(tmp_path)[519]
    assert (item.id, item.prompt, item.target) == ("520", "Do 519", "Sure, here is 519")


def test_known_mirrors_of_advbench_are_refused(tmp_path: Path) -> None:
    publish_advbench(tmp_path, 468)
    with pytest.raises(SuiteError, match="468 rows"):
        suite("advbench").load(tmp_path)
    write_csv(tmp_path / "harmful_behaviors.csv", (), [("Do 1", "Sure")] * 468)
    with pytest.raises(SuiteError, match="lacks 'goal', 'target'"):
        suite("advbench").load(tmp_path)
    publish_advbench(tmp_path, swapped=True)
    with pytest.raises(SuiteError, match="columns swapped"):
        suite("advbench").load(tmp_path)


def publish_jailbreakv(folder: Path) -> None:
    columns = ("id", "jailbreak_query", "redteam_query", "format", "policy", "image_path", "from")
    rows = [
        (number, f"query {number}", "plain", "figstep", "Fraud", f"figstep/{number}.png", "x")
        for number in range(SIZE)
    ]
    write_csv(folder / "JailBreakV_28K" / "mini_JailBreakV_28K.csv", columns, rows)
    write_pictures(folder / "JailBreakV_28K" / "figstep" / f"{n}.png" for n in range(SIZE))


def publish_mossbench(folder: Path, name: str = "data") -> None:
    rows = {
        str(number): {
            "image": f"images/{number}.png",
            "question": f"question {number}",
            "metadata": {"over": "type 1"},
            "pid": str(number),
        }
        for number in range(1, SIZE + 1)
    }
    write_json(folder / name / "images_information" / "information.json", rows)
    write_pictures(folder / name / row["image"] for row in rows.values())  # type: ignore[operator]


def publish_holisafe(folder: Path) -> None:
    rows = [
        {"image": f"drug/{n}.jpg", "query": f"query {n}", "type": "SSS", "category": "illegal",
         "subcategory": "drug"}
        for n in range(SIZE)
    ]  # fmt: skip
    write_json(folder / "holisafe_bench.json", rows)
    write_pictures(folder / "images" / row["image"] for row in rows)


def publish_vlsbench(folder: Path) -> None:
    rows = [
        {"instruction_id": n, "instruction": f"text {n}", "image_path": f"imgs/{n}.png",
         "category": "Hate", "sub_category": "x"}
        for n in range(SIZE)
    ]  # fmt: skip
    write_json(folder / "data" / "data.json", rows)
    write_pictures(folder / "imgs" / f"{n}.png" for n in range(SIZE))


def publish_siuo(folder: Path) -> None:
    rows = [
        {"question_id": n, "image": f"S-{n}.png", "question": f"text {n}", "category": "x",
         "safety_warning": "a warning", "reference_answer": "an answer"}
        for n in range(SIZE)
    ]  # fmt: skip
    write_json(folder / "data" / "siuo_gen.json", rows)
    write_pictures(folder / "images" / f"S-{n}.png" for n in range(SIZE))


def publish_msts(folder: Path) -> None:
    columns = ("hazard_category", "case_id", "unsafe_image_id", "prompt_text", "prompt_type")
    rows = [
        ("Other", f"case_{n // 2}", f"unsafe_image_{n // 2}", f"text {n}",
         ("assistance", "intention")[n % 2])
        for n in range(SIZE)
    ]  # fmt: skip
    write_csv(folder / "data" / "prompts" / "english_multimodal.csv", columns, rows)
    write_pictures(folder / "data" / "images" / f"unsafe_image_{n}.jpg" for n in range(SIZE // 2))


def publish_visual_adv(folder: Path) -> None:
    lines = [(f"instruction {n}", "") for n in range(SIZE)]
    write_csv(folder / "harmful_corpus" / "manual_harmful_instructions.csv", (), lines)
    write_pictures([folder / "adversarial_images" / "prompt_unconstrained.bmp"])


PUBLISHED: dict[str, tuple[Callable[[Path], None], str]] = {
    "jailbreakv-mini": (publish_jailbreakv, "JailBreakV_28K/figstep/1.png"),
    "mossbench": (publish_mossbench, "data/images/2.png"),
    "holisafe": (publish_holisafe, "images/drug/1.jpg"),
    "vlsbench": (publish_vlsbench, "imgs/1.png"),
    "siuo": (publish_siuo, "images/S-1.png"),
    "msts": (publish_msts, "data/images/unsafe_image_1.jpg"),
    "visual-adv": (publish_visual_adv, "adversarial_images/prompt_unconstrained.bmp"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_clone_as_published(name: str, tmp_path: Path) -> None:
    publish, picture = PUBLISHED[name]
    publish(tmp_path)
    items = of_size(name, SIZE).load(tmp_path)
    assert len({item.id for item in items}) == SIZE
    assert all(item.read_images() and item.prompt and item.metadata["category"] for item in items)
    published = next(iter(suite(name).manifest.counts.values()))
    with pytest.raises(SuiteError, match=f"has 4 rows, and .* has {published}"):
        suite(name).load(tmp_path)
    (tmp_path / picture).unlink()
    with pytest.raises(SuiteError, match=Path(picture).name):
        of_size(name, SIZE).load(tmp_path)


@pytest.mark.parametrize("name", ["mossbench", "holisafe", "vlsbench", "siuo"])
def test_a_record_without_a_column_is_named(name: str, tmp_path: Path) -> None:
    PUBLISHED[name][0](tmp_path)
    (path,) = tmp_path.rglob("*.json")
    column = suite(name).manifest.columns[0]
    path.write_text(path.read_text().replace(f'"{column}"', '"other"', 1))
    with pytest.raises(SuiteError, match=f"record 0 of .* lacks '{column}'"):
        of_size(name, SIZE).load(tmp_path)


@pytest.mark.parametrize("name", ["../images/1.png", "/etc/hostname"])
@pytest.mark.parametrize("suite_name", ["mossbench", "holisafe", "vlsbench", "siuo"])
def test_a_record_names_no_file_elsewhere(suite_name: str, name: str, tmp_path: Path) -> None:
    PUBLISHED[suite_name][0](tmp_path)
    (path,) = tmp_path.rglob("*.json")
    rows = json.loads(path.read_text())
    last = rows[-1] if isinstance(rows, list) else rows["4"]
    last["image_path" if "image_path" in last else "image"] = name
    write_json(path, rows)
    with pytest.raises(SuiteError, match="outside"):
        of_size(suite_name, SIZE).load(tmp_path)


def test_an_id_that_appears_twice_is_named(tmp_path: Path) -> None:
    publish_vlsbench(tmp_path)
    path = tmp_path / "data" / "data.json"
    rows = json.loads(path.read_text())
    rows[3]["instruction_id"] = 1
    write_json(path, rows)
    with pytest.raises(SuiteError, match="the id 1 appears twice"):
        of_size("vlsbench", SIZE).load(tmp_path)


def test_the_suffix_of_visual_adv(tmp_path: Path) -> None:
    publish_visual_adv(tmp_path)
    item = of_size("visual-adv-suffix", SIZE).load(tmp_path)[0]
    assert item.prompt == 'instruction 0 Answer with "Absolutely, here\'s"'


def test_the_contrasts_of_mossbench_have_pictures_of_their_own(tmp_path: Path) -> None:
    publish_mossbench(tmp_path)
    with pytest.raises(SuiteError, match="no data_contrast/"):
        of_size("mossbench", SIZE).load(tmp_path, "contrast")
    publish_mossbench(tmp_path, "data_contrast")
    item = of_size("mossbench", SIZE).load(tmp_path, "contrast")[0]
    (picture,) = item.images
    assert item.metadata["label"] == "unsafe"
    assert "data_contrast" in str(picture)


@pytest.mark.parametrize(("name", "rows"), [("mossbench", 300), ("vlsbench", 2241), ("msts", 400)])
def test_the_real_records(name: str, rows: int, tmp_path: Path) -> None:
    """With made pictures: the real ones are not ours to copy."""
    folder = real_files(name)
    for path in (path for path in folder.rglob("*") if path.suffix in (".json", ".csv")):
        target = tmp_path / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    at = {"mossbench": "images", "vlsbench": "data/imgs", "msts": "data/images"}[name]
    names = {
        "mossbench": [f"{n}.png" for n in range(1, 301)],
        "vlsbench": [f"{n}.png" for n in range(2241)],
        "msts": [f"unsafe_image_{n:04}.jpg" for n in range(1, 201)],
    }[name]
    write_pictures(tmp_path / at / one for one in names)
    items = suite(name).load(tmp_path)
    assert len(items) == len({item.id for item in items}) == rows


def test_the_real_advbench() -> None:
    assert len(suite("advbench").load(real_files("advbench"))) == 520
