"""The pictures of the long scan, and what is said of its memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.bulk import soak
from benchmarks.bulk.pictures import DAMAGED_EVERY, draw, is_damaged, place
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake.decode import decode_bytes


def test_every_hundredth_picture_cannot_be_read_and_the_others_differ() -> None:
    seen = set()
    for number in [*range(12), *(50 + DAMAGED_EVERY * way for way in range(3))]:
        assert draw(number) == draw(number)
        if is_damaged(number):
            with pytest.raises(ImageRejected):
                decode_bytes(draw(number), IntakePolicy(), place(number))
        else:
            (pixels,) = decode_bytes(draw(number), IntakePolicy(), place(number)).frames
            assert pixels.shape == (64, 64, 3)
            seen.add(pixels.tobytes())
    assert len(seen) == 12
    assert sum(map(is_damaged, range(1000))) == 10


def test_the_slope_is_that_of_a_run_that_has_warmed_up() -> None:
    first = [
        (second, 0 if second < 5 else 10 * second, 500 + 10 * min(second, 20))
        for second in range(50)
    ]
    second = [(50 + s, 500 + 10 * s, 100 if s < 2 else 700 + s / 10) for s in range(60)]
    found = soak.growth([*first, *second], loaded=200)
    assert found["peak_mb"] == pytest.approx(705.9)
    assert found["mb_per_100000"] == pytest.approx(1000.0, rel=0.5)


@pytest.mark.parametrize("line", ["again", "missing", "whole"])
def test_a_picture_too_few_too_many_or_judged_wrongly_is_told(tmp_path: Path, line: str) -> None:
    pictures, results = tmp_path / "pictures", tmp_path / "results.jsonl"
    records = [
        {"source": str(pictures / place(number)), "decision": "allow"} for number in range(60)
    ]
    records[50] = {"source": records[50]["source"], "error": "damaged"}
    assert _checked(results, records, pictures) == {"allow": 59, "error": 1}
    wrong = {
        "again": [*records, records[3]],
        "missing": records[:-1],
        "whole": [*records[:3], {"source": records[3]["source"], "error": "?"}, *records[4:]],
    }[line]
    with pytest.raises(SystemExit):
        _checked(results, wrong, pictures)


def _checked(results: Path, records: list[dict[str, str]], pictures: Path) -> dict[str, int]:
    results.write_text("".join(f"{json.dumps(one)}\n" for one in records), encoding="utf-8")
    return soak.checked(pictures, results, 60)
