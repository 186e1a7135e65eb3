from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites import suite
from guardalign_middleware.evaluation.suites.mm_safetybench import SCENARIOS
from tests.support.suites import write_json, write_pictures, write_table


def publish_tiny(folder: Path) -> None:
    """168 ids: 12 of each scenario and 12 more of the first."""
    lists = [
        {"Scenario": name, "Sampled_ID_List": list(range(24 if number == 0 else 12))}
        for number, name in enumerate(SCENARIOS)
    ]
    write_json(folder / "TinyVersion_ID_List.json", lists)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    for scenario, count in SCENARIOS.items():
        rows = {
            str(number): {
                "Question": f"plain {number}",
                "Rephrased Question": f"letters {number}",
                "Rephrased Question(SD)": f"drawn {number}",
            }
            for number in range(count)
        }
        write_json(folder / "data" / "processed_questions" / f"{scenario}.json", rows)
        at = folder / "data" / "imgs" / scenario
        write_pictures(at / "SD" / f"{number}.jpg" for number in range(count))
        write_pictures(at / "SD_TYPO" / f"{number}.jpg" for number in range(count))
    publish_tiny(folder)
    return folder


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snapshot")
    for scenario, count in SCENARIOS.items():
        ids = [str(number) for number in range(count)]
        for kind, text in (("TYPO", "letters"), ("Text_only", "plain")):
            columns: dict[str, list[Any]] = {
                "id": ids,
                "question": [f"{text} {number}" for number in ids],
                "image": list(range(count)),
            }
            write_table(folder / "data" / scenario[3:] / f"{kind}.parquet", columns)
    return folder


def test_there_are_1680_questions_in_13_scenarios() -> None:
    assert (len(SCENARIOS), sum(SCENARIOS.values())) == (13, 1680)


@pytest.mark.parametrize(("kind", "text"), [("sd", "drawn"), ("sd-typo", "letters")])
def test_a_clone(clone: Path, kind: str, text: str) -> None:
    items = suite(f"mm-safetybench-{kind}").load(clone)
    assert len(items) == 1680
    assert (items[1].id, items[1].prompt) == ("01-Illegal_Activitiy/1", f"{text} 1")
    assert items[1].metadata["question"] == "plain 1"


def test_the_tiny_version(clone: Path) -> None:
    items = suite("mm-safetybench-sd").load(clone, "tiny")
    assert len(items) == 168
    assert {item.metadata["category"] for item in items} == set(SCENARIOS)


def test_a_snapshot_of_the_hub(snapshot: Path) -> None:
    items = suite("mm-safetybench-typo").load(snapshot)
    assert len(items) == 1680
    assert (items[-1].id, items[-1].prompt) == ("13-Gov_Decision/148", "letters 148")
    assert items[-1].metadata["question"] == "plain 148"
    with pytest.raises(SuiteError, match="no TinyVersion_ID_List"):
        suite("mm-safetybench-typo").load(snapshot, "tiny")


def test_what_a_clone_lacks_is_named(clone: Path) -> None:
    with pytest.raises(SuiteError, match="1680 of 1680 pictures are missing"):
        suite("mm-safetybench-typo").load(clone)


def test_a_short_scenario_is_named(tmp_path: Path) -> None:
    rows = {"0": {"Question": "x", "Rephrased Question": "x", "Rephrased Question(SD)": "x"}}
    path = tmp_path / "data" / "processed_questions" / "01-Illegal_Activitiy.json"
    write_json(path, rows)
    (tmp_path / "data" / "imgs").mkdir()
    with pytest.raises(SuiteError, match="01-Illegal_Activitiy has 1 rows, and 97"):
        suite("mm-safetybench-sd").load(tmp_path)
